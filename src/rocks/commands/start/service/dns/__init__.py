"""`rocks start service dns`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Start the name service: BIND's named for the networks with servedns, on the frontend's addresses there and on no
    other network. It runs until it is interrupted. It answers names of all hosts on these networks, and asks the name
    servers in the attribute Kickstart_PublicDNSServers for all others. It needs the package bind9. Hosts use it when
    the attribute Kickstart_PrivateDNSServers is the frontend's address on the network private.

    <example cmd='start service dns'>
    Serve the names; systemctl enable --now rocks-dns does so at each boot.
    </example>

    <related>sync dns</related>
    <related>report named</related>
    <related>set network servedns</related>
    <related>start service boot</related>
    """

    NoDryRun = "it is a service that runs until it is ended"
    NeedsOwnProcess = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Become named."""
        from rocks.network.dns.service import start_name_service

        start_name_service(self.db, self.notify)
