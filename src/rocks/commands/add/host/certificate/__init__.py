"""`rocks add host certificate`"""

import rocks.commands
from rocks.actions.certificates import DEFAULT_DAYS, add_certificates
from rocks.errors import UserError


class Command(rocks.commands.Command):
    """
    Issue certificates by which hosts prove to the message broker and to each other who they are. The authority's key
    is made with the first one and never leaves this machine. A certificate is of use once it has been carried to its
    host, by sync host certificate, and the broker has a user for it, by sync broker.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='int' name='days'>
    For how long they are good; 825 by default.
    </param>
    <param type='bool' name='replace'>
    Issue another one to a host that has one; no by default. The old one is revoked when the new one has been
    carried to the host.
    </param>

    <example cmd='add host certificate nas-0-0 vm-container-0-0'>
    Certificates for two hosts.
    </example>

    <related>sync host certificate</related>
    <related>list host certificate</related>
    <related>remove host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Issue them and tell the serial numbers."""
        (days,) = self.fillParams([("days", str(DEFAULT_DAYS))])
        if not str(days).isdecimal():
            raise UserError(f'days "{days}" must be a number')
        hosts = self.getSomeHostnames(args)
        for shown in add_certificates(self.db, hosts, int(days), self.fillFlag("replace")):
            self.addText(f"{shown.node}: certificate {shown.serial_text} until {shown.expires:%Y-%m-%d}\n")
