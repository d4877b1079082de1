"""`rocks sync host certificate`"""

import rocks.commands
from rocks.actions.certificates import deploy_certificates
from rocks.commands._shared.revocation_list import deploy_revocation_list_to_nodes
from rocks.errors import RocksError


class Command(rocks.commands.Command):
    """
    Carry the newest certificate of hosts there, over SSH, with its key, the authority's certificate and the list of
    revoked ones, to /etc/rocks/pki. What a host had before is revoked when it has the new one; the list is then carried
    to all nodes that have a certificate, where it ends open transfers.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='sync host certificate nas-0-0'>
    One host.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Carry them and tell of each host what was done."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        has_revoked = False
        for host, result in deploy_certificates(self.db, hosts):
            if isinstance(result, RocksError):
                failures[host] = result
                continue
            has_revoked = has_revoked or bool(result)
            revoked = "".join(f"; {shown.serial_text} is revoked" for shown in result)
            self.showNow(f"{host}: has its certificate{revoked}\n")
        if has_revoked:
            deploy_revocation_list_to_nodes(self, passing_over=failures)  # who has just failed is told below
        self.endOutcomes(failures, len(hosts))
