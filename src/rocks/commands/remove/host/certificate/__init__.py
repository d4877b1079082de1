"""`rocks remove host certificate`"""

import rocks.commands
from rocks.commands._shared.revocation_list import deploy_revocation_list_to_nodes
from rocks.core.errors import BusyError
from rocks.site.certificates import remove_certificates
from rocks.storage.broker.broker import broker_elsewhere


class Command(rocks.commands.Command):
    """
    Revoke the certificates of hosts and remove their users from the message broker, which closes their
    connections. The revocation list is deployed to all nodes with a certificate, which abort open transfers
    with the revoked hosts. Hosts without a certificate are skipped.

    <shared names='hosts,dry-run'/>

    <example cmd='remove host certificate vm-container-0-0'>
    One host.
    </example>
    <example cmd='remove host certificate vm-container-0-0 vm-container-0-1'>
    Two hosts.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Revoke the certificates, print their serial numbers and deploy the revocation list."""
        hosts = self.getSomeHostnames(args)
        failures: list[BusyError] = []
        removed = remove_certificates(self.db, hosts, failures.append)
        if failures:
            # They are revoked although the broker was not changed; a repeated command would find nothing to revoke.
            deploy_revocation_list_to_nodes(self, has_revoked=True)
            raise failures[0]
        for host, revoked in removed.items():
            for certificate in revoked:
                self.addText(f"{host}: certificate {certificate.serial_text} is revoked\n")
        broker = broker_elsewhere(self.db)
        for host in removed if broker else ():
            self.notify(
                f"Warning: the message broker is on {broker}, where {host} still has its connections; run there: "
                f"rabbitmqctl delete_user {host}"
            )
        deploy_revocation_list_to_nodes(self, has_revoked=bool(removed))
