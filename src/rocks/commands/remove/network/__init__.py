"""`rocks remove network`"""

import rocks.commands
from rocks.network.networks import remove_network


class Command(rocks.commands.Command):
    """
    Remove networks. If an interface of a host is on one of the networks, nothing is removed.

    <shared command='set network mtu' names='network'/>

    <example cmd='remove network optiputer'>
    Remove one network and the routes through it.
    </example>
    <example cmd='remove network optiputer storage'>
    Two networks.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the networks."""
        if not args:
            self.abort("must supply at least one network")
        remove_network(self.db, self.getNetworkNames(args))
