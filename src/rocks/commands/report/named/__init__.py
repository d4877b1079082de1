"""`rocks report named`"""

import rocks.commands
from rocks.network.dns.service import name_files


class Command(rocks.commands.Command):
    """
    Report the configuration of BIND's named for this frontend: the zones of all networks with servedns, recursion for
    these networks alone, and the name servers in the attribute Kickstart_PublicDNSServers for all other names. A file
    /etc/bind/rocks/site/named.conf of the site is included where there is one.

    <example cmd='report named'>
    The configuration, as rocks sync dns would write it now.
    </example>

    <related>report zones</related>
    <related>sync dns</related>
    <related>start service dns</related>
    <related>set network servedns</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        path, text = next(iter(name_files(self.db).files.items()))
        self.addText(f'<file name="{path}">\n{text}</file>\n')
