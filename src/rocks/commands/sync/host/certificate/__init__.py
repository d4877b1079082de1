"""`rocks sync host certificate`"""

import rocks.commands
from rocks.commands._shared.revocation_list import deploy_revocation_list_to_nodes
from rocks.core.errors import RocksError, without_errors
from rocks.site.certificates import deploy_certificates


class Command(rocks.commands.Command):
    """
    Deploy the newest certificates of hosts over SSH to /etc/rocks/pki, with the private key, the authority's
    certificate and the revocation list. When a host has its new certificate, the previous one is revoked; the
    revocation list is then deployed to all nodes with a certificate, which abort open transfers with the
    revoked certificate.

    <shared names='hosts,dry-run'/>

    <example cmd='sync host certificate nas-0-0'>
    One host.
    </example>
    <example cmd='sync host certificate nas-0-0 vm-container-0-0'>
    Two hosts.
    </example>

    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Deploy the certificates and report the result of each host."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        has_revoked = False
        for host, result in without_errors(deploy_certificates(self.db, hosts), failures):
            has_revoked = has_revoked or bool(result)
            revoked = "".join(f"; {old.serial_text} is revoked" for old in result)
            self.showNow(f"{host}: has its certificate{revoked}\n")
        deploy_revocation_list_to_nodes(self, has_revoked, failures)  # their errors are reported below
        self.endOutcomes(failures, len(hosts))
