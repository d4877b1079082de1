"""`rocks set network zone`"""

import rocks.commands
from rocks.actions.networks import set_network_zone


class Command(rocks.commands.Command):
    """
    Set the DNS zone of a network.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>
    <arg type='string' name='zone'>
    The DNS zone of its hosts. Every network has a zone of its own. May be given as zone=.
    </arg>

    <example cmd='set network zone optiputer optiputer.net'>
    Name the hosts of this network in optiputer.net.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read networks and value; change them."""
        networks, value = self.fillPositionalArgs(("zone",))
        if not networks:
            self.abort("must supply at least one network")
        set_network_zone(self.db, self.getNetworkNames(networks), value)
