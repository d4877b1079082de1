"""`rocks list network`"""

import rocks.commands
from rocks.network.networks import load_networks


class Command(rocks.commands.Command):
    """
    List the networks: address, netmask, MTU in bytes, DNS zone, and whether the frontend serves the names of
    the zone.

    <arg optional='1' type='string' name='network' repeat='1' default='all'>
    Networks; % is a wildcard.
    </arg>

    <example cmd='list network private'>
    One network.
    </example>
    <example cmd='list network'>
    All networks.
    </example>

    <related>add network</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per network."""
        self.beginOutput()
        for network in load_networks(self.db, self.getNetworkNames(args)):
            self.addOutput(
                network.name,
                (network.subnet, network.netmask, network.mtu_bytes, network.dns_zone, network.serves_dns),
            )
        self.endOutput(header=("network", "subnet", "netmask", "mtu", "dnszone", "servedns"))
