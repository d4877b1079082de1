"""`rocks list host certificate`"""

import rocks.commands
from rocks.site.certificates import list_certificates


class Command(rocks.commands.Command):
    """
    List the certificates of hosts: serial number, expiry date and state. The state is good, not deployed (run
    sync host certificate), expires soon (within 30 days), expired or not allowed: a virtual machine, or a host
    without a role in image storage, has it (run remove host certificate).

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts with a certificate'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='list host certificate'>
    All certificates.
    </example>
    <example cmd='list host certificate nas-0-0'>
    One host.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per certificate."""
        rows = list_certificates(self.db, self.getHostnames(args) if args else None)
        self.addTable(("host", "serial", "expires", "state"), rows, trimOwner=False)
