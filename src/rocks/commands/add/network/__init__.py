"""`rocks add network`"""

import rocks.commands
from rocks.inventory.records import Network
from rocks.network.network_rules import DEFAULT_MTU_BYTES, read_mtu
from rocks.network.networks import add_network

ARGUMENTS = ("name", "subnet", "netmask")


class Command(rocks.commands.Command):
    """
    Add a network for the interfaces of hosts.

    <arg type='string' name='name'>
    Name of the network, such as private or public.
    </arg>
    <arg type='string' name='subnet'>
    Network address, such as 10.1.0.0.
    </arg>
    <arg type='string' name='netmask'>
    Netmask, such as 255.255.0.0.
    </arg>
    <param type='int' name='mtu' default='1500' unit='bytes'>
    MTU of its links, 576 to 65535.
    </param>
    <param type='string' name='dnszone' default='the name of the network'>
    DNS zone of its hosts. No two networks may have the same zone.
    </param>
    <param type='bool' name='servedns' default='no'>
    Whether the frontend serves the names of this zone.
    </param>

    <example cmd='add network optiputer 192.168.1.0 255.255.255.0 mtu=9216'>
    Add a network with jumbo frames.
    </example>
    <example cmd='add network storage 10.9.0.0 255.255.0.0 dnszone=storage.example.org servedns=yes'>
    A network whose names the frontend's name service has.
    </example>

    <related>list network</related>
    <related>remove network</related>
    <related>set network mtu</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the network; add it."""
        _, values = self.splitArguments(ARGUMENTS)
        missing = [argument for argument, value in zip(ARGUMENTS, values, strict=True) if not value]
        if missing:
            self.abort(
                f"a network has a name, a subnet and a netmask, and {len(ARGUMENTS) - len(missing)} of them are given, "
                "such as ib 10.2.0.0 255.255.0.0"
            )
        name, subnet, netmask = (value or "" for value in values)
        mtu_bytes = read_mtu(self.fillText("mtu", str(DEFAULT_MTU_BYTES)))
        zone = self.fillText("dnszone") or name
        add_network(self.db, Network(name, subnet, netmask, mtu_bytes, zone, self.fillFlag("servedns")))
