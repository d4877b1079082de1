"""`rocks set network mtu`"""

import rocks.commands
from rocks.actions.networks import set_network_mtu


class Command(rocks.commands.Command):
    """
    Set the MTU of networks.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>
    <arg type='int' name='mtu'>
    The MTU of its links in bytes, 68 to 65535. May be given as mtu=.
    </arg>

    <example cmd='set network mtu optiputer 9216'>
    Let the network have jumbo frames.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read networks and value; change them."""
        networks, value = self.fillPositionalArgs(("mtu",))
        if not networks:
            self.abort("must supply at least one network")
        set_network_mtu(self.db, self.getNetworkNames(networks), value)
