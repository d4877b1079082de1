"""`rocks set host interface subnet`"""

import rocks.commands
from rocks.actions.interfaces import set_subnet


class Command(rocks.commands.Command):
    """
    Put hosts' interfaces on a network. One that has no name gets its host's.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='subnet'>
    Name of the network; NULL takes it off. May be given as subnet=…
    </arg>

    <example cmd='set host interface subnet compute-0-0 eth0 private'>
    It is on the network private.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, subnet = self.fillPositionalArgs(("iface", "subnet"))
        if not iface:
            self.abort("must supply iface")
        if not subnet:
            self.abort("must supply subnet")
        set_subnet(self.db, self.getSomeHostnames(hosts), iface, subnet)
