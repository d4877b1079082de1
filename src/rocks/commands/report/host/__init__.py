"""`rocks report host`"""

import rocks.commands
from rocks.network.dns.names import hosts_lines
from rocks.network.dns.service import load_site_names


class Command(rocks.commands.Command):
    """
    Report the lines of /etc/hosts for all hosts: IP address, name with the zone of its network, the host's name and its
    aliases. The host's name and aliases stand at its address on the network private, or else at its first. Interfaces
    without an address, and on networks without a zone, are left out.

    <example cmd='report host'>
    All hosts. rocks sync config has these lines in /etc/hosts of this machine.
    </example>

    <related>sync dns</related>
    <related>report zones</related>
    <related>list host alias</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the lines."""
        names, _ = load_site_names(self.db)
        for problem in names.problems:
            self.notify(problem)
        self.addText(hosts_lines(names.addresses))
