"""`rocks remove host certificate`"""

import rocks.commands
from rocks.actions.certificates import remove_certificates
from rocks.actions.message_broker import broker_elsewhere
from rocks.commands._shared.revocation_list import deploy_revocation_list_to_nodes
from rocks.errors import BusyError


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
        hosts = self.getSomeHostnames(args)
        try:
            removed = remove_certificates(self.db, hosts)
        except BusyError:
            # they are revoked, though the broker does not know it; run again, there would be nothing to revoke
            deploy_revocation_list_to_nodes(self)
            raise
        for host, revoked in removed.items():
            for shown in revoked:
                self.addText(f"{host}: certificate {shown.serial_text} is revoked\n")
        if not removed:
            return
        broker = broker_elsewhere(self.db)
        for host in removed if broker else ():
            self.notify(
                f"Warning: the message broker is on {broker}, where {host} keeps what it has open: run there "
                f"rabbitmqctl delete_user {host}"
            )
        deploy_revocation_list_to_nodes(self)
