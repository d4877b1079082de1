"""`rocks add network`"""

import rocks.commands
from rocks.actions.networks import add_network
from rocks.cluster.network_rules import DEFAULT_MTU_BYTES, read_mtu
from rocks.cluster.records import Network


class Command(rocks.commands.Command):
    """
    Add a network, on which hosts can have interfaces.

    <arg type='string' name='name'>
    The network's name, such as private or public.
    </arg>
    <arg type='string' name='subnet'>
    Its first address, such as 10.1.0.0.
    </arg>
    <arg type='string' name='netmask'>
    Its netmask, such as 255.255.0.0.
    </arg>
    <param type='int' name='mtu'>
    The MTU of its links in bytes, 68 to 65535; 1500 by default.
    </param>
    <param type='string' name='dnszone'>
    The DNS zone of its hosts; the network's name by default. Every network has a zone of its own.
    </param>
    <param type='bool' name='servedns'>
    Whether the frontend serves the names of this zone; no by default.
    </param>

    <example cmd='add network optiputer 192.168.1.0 255.255.255.0 mtu=9216'>
    A network with jumbo frames.
    </example>

    <related>list network</related>
    <related>remove network</related>
    <related>set network mtu</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the network; add it."""
        others, name, subnet, netmask = self.fillPositionalArgs(("name", "subnet", "netmask"))
        if others:
            self.abort(f'"{others[0]}" is one word too many: a network has a name, a subnet and a netmask')
        for word, value in (("name", name), ("subnet", subnet), ("netmask", netmask)):
            if not value:
                self.abort(f"must supply the {word} of the network")
        mtu, zone = self.fillParams([("mtu", str(DEFAULT_MTU_BYTES)), ("dnszone", "")])
        serves_dns = self.fillFlag("servedns")
        add_network(self.db, Network(name, subnet, netmask, read_mtu(mtu), zone or name, serves_dns))
