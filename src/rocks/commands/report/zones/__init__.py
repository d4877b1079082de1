"""`rocks report zones`"""

import rocks.commands
from rocks.network.dns.service import name_files


class Command(rocks.commands.Command):
    """
    Report the zone files of all networks with servedns: their names, and the names of their addresses. Hosts, names of
    interfaces and aliases have address records. A reverse zone has no address outside of its network. A file
    /etc/bind/rocks/site/ZONE of the site is included where there is one.

    <example cmd='report zones'>
    All zones, as rocks sync dns would write them now.
    </example>

    <related>report named</related>
    <related>report host</related>
    <related>sync dns</related>
    <related>set network zone</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files."""
        files, problems = name_files(self.db)
        for problem in problems:
            self.notify(problem)
        for path, text in list(files.items())[1:]:
            self.addText(f'<file name="{path}">\n{text}</file>\n')
