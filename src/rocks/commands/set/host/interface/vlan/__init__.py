"""`rocks set host interface vlan`"""

import rocks.commands
from rocks.actions.interfaces import set_vlan


class Command(rocks.commands.Command):
    """
    Set the VLAN of hosts' interfaces.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='vlan'>
    The VLAN's number, 1 to 4094; 0 or NULL for none. May be given as vlan=…
    </arg>

    <example cmd='set host interface vlan compute-0-0 eth0 3'>
    Its frames are tagged with 3.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, vlan = self.fillPositionalArgs(("iface", "vlan"))
        if not iface:
            self.abort("must supply iface")
        if not vlan:
            self.abort("must supply vlan")
        set_vlan(self.db, self.getSomeHostnames(hosts), iface, vlan)
