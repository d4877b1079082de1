"""`rocks report resolv private`"""

import rocks.commands
from rocks.network.dns.service import resolver


class Command(rocks.commands.Command):
    """
    Report /etc/resolv.conf for the hosts on the network private: its zone, then the public domain, and the name servers
    in the attribute Kickstart_PrivateDNSServers.

    <example cmd='report resolv private'>
    The file of a host.
    </example>

    <related>report resolv</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        self.addText(f'<file name="/etc/resolv.conf">\n{resolver(self.db, private=True)}</file>\n')
