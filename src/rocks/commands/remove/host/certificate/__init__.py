"""`rocks remove host certificate`"""

import rocks.commands
from rocks.actions.certify_hosts import remove_certificates


class Command(rocks.commands.Command):
    """
    Revoke the certificates of hosts and remove their users from the message broker, which ends what they have open
    there. A host without a certificate is passed over.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='remove host certificate vm-container-0-0'>
    One host.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Revoke them and tell the serial numbers."""
        for host, revoked in remove_certificates(self.getSomeHostnames(args)).items():
            for shown in revoked:
                self.addText(f"{host}: certificate {shown.serial_text} is revoked\n")
