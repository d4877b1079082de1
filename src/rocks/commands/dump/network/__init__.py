"""`rocks dump network`"""

import rocks.commands.dump
from rocks.commands._framework.arguments import bool2str
from rocks.network.networks import load_networks


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the networks.

    <shared command='list network' names='network'/>

    <example cmd='dump network'>
    Print one shell command per line.
    </example>
    <example cmd='dump network private'>
    One network.
    </example>

    <related>add network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per network."""
        for network in load_networks(self.db, self.getNetworkNames(args)):
            values = {
                "subnet": network.subnet,
                "netmask": network.netmask,
                "mtu": network.mtu_bytes,
                "dnszone": network.dns_zone,
                "servedns": bool2str(network.serves_dns),
            }
            self.dump("add", "network", network.name, *(f"{name}={value}" for name, value in values.items()))
