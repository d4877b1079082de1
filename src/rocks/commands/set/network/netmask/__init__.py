"""`rocks set network netmask`"""

import rocks.commands
from rocks.actions.networks import set_network_netmask


class Command(rocks.commands.Command):
    """
    Set the netmask of networks.

    <arg type='string' name='network' repeat='1'>
    Networks, % is a wildcard.
    </arg>
    <arg type='string' name='netmask'>
    The new netmask. The subnet must fit it, and every interface on the network must lie within. May be given
    as netmask=.
    </arg>

    <example cmd='set network netmask optiputer 255.255.254.0'>
    Make the network twice as large.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read networks and value; change them."""
        networks, value = self.fillPositionalArgs(("netmask",))
        if not networks:
            self.abort("must supply at least one network")
        set_network_netmask(self.db, self.getNetworkNames(networks), value)
