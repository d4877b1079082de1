"""`rocks set network subnet`"""

import rocks.commands
from rocks.actions.networks import set_network_subnet


class Command(rocks.commands.Command):
    """
    Set the first address of networks.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>
    <arg type='string' name='subnet'>
    The new first address. It must fit the netmask, and every interface on the network must lie within. May be
    given as subnet=.
    </arg>

    <example cmd='set network subnet optiputer 192.168.2.0'>
    Give the network other addresses of the same number.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read networks and value; change them."""
        networks, value = self.fillPositionalArgs(("subnet",))
        if not networks:
            self.abort("must supply at least one network")
        set_network_subnet(self.db, self.getNetworkNames(networks), value)
