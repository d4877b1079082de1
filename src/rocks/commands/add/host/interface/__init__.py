"""`rocks add host interface`"""

import rocks.commands
from rocks.actions.interfaces import InterfaceParameters, add_interface


class Command(rocks.commands.Command):
    """
    Add an interface to a host. Everything given is checked first; nothing is added when one of it is wrong.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='iface'>
    The interface: a device such as eth1, or a MAC address. May be given as iface=…
    </arg>
    <param type='string' name='ip'>
    IPv4 address, one of the network's that nobody has.
    </param>
    <param type='string' name='mac'>
    MAC address, which nobody else has.
    </param>
    <param type='string' name='module'>
    Driver.
    </param>
    <param type='string' name='name'>
    The host's name on that network; its own name by default when a network is given.
    </param>
    <param type='string' name='subnet'>
    Name of the network.
    </param>
    <param type='int' name='vlan'>
    VLAN, 1 to 4094; 0 for none.
    </param>

    <example cmd='add host interface compute-0-0 eth1 ip=10.1.0.7 subnet=private mac=00:11:22:33:44:55'>
    A second interface on the network private.
    </example>

    <related>list host interface</related>
    <related>remove host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the interface."""
        hosts, iface = self.fillPositionalArgs(("iface",))
        if not iface:
            self.abort("must supply iface")
        names = ("ip", "mac", "module", "name", "subnet", "vlan")
        values = self.fillParams([(name, None) for name in names])
        add_interface(self.db, self.getOneHostname(hosts), InterfaceParameters(iface, *values))
