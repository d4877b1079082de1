"""`rocks remove host certificate`"""

import rocks.commands
from rocks.actions.certify_hosts import carry_revoked_list, remove_certificates


class Command(rocks.commands.Command):
    """
    Revoke the certificates of hosts and remove their users from the message broker, which ends what they have open
    there. The list of revoked certificates is carried to all nodes that have one, where it ends open transfers. A host
    without a certificate is passed over.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='remove host certificate vm-container-0-0'>
    One host.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Revoke them, tell the serial numbers, and have all nodes know."""
        removed = remove_certificates(self.getSomeHostnames(args))
        for host, revoked in removed.items():
            for shown in revoked:
                self.addText(f"{host}: certificate {shown.serial_text} is revoked\n")
        failed = carry_revoked_list(self.db) if removed else {}
        for node, error in failed.items():
            self.tell(
                f"Warning: {node} does not know that yet, and goes on with transfers that are open: {error}; "
                f"when it answers: rocks sync host certificate {node}"
            )
