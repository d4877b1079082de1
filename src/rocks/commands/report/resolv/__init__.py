"""`rocks report resolv`"""

import rocks.commands
from rocks.network.dns.service import resolver


class Command(rocks.commands.Command):
    """
    Report /etc/resolv.conf for this frontend: the zone of the network private, then the public domain; its own name
    service where it has one, otherwise the name servers in the attribute Kickstart_PublicDNSServers. No command writes
    this file, since the frontend's network service may own it.

    <example cmd='report resolv'>
    To write it: rocks report resolv | rocks report script | bash
    </example>

    <related>report resolv private</related>
    <related>start service dns</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        self.addText(f'<file name="/etc/resolv.conf">\n{resolver(self.db, private=False)}</file>\n')
