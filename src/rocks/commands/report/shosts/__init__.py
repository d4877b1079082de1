"""`rocks report shosts`"""

import rocks.commands
from rocks.network.dns.service import load_site_names
from rocks.site.host_lists import equivalent_hosts, names_of_hosts


class Command(rocks.commands.Command):
    """
    Report the names and addresses of all hosts for /etc/ssh/shosts.equiv, a line each, for SSH with
    HostbasedAuthentication.

    <example cmd='report shosts'>
    All hosts.
    </example>

    <related>report knownhosts</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the lines."""
        names, _ = load_site_names(self.db)
        self.addText(equivalent_hosts(names_of_hosts(names.addresses)))
