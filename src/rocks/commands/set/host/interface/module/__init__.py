"""`rocks set host interface module`"""

import rocks.commands
from rocks.actions.interfaces import set_module


class Command(rocks.commands.Command):
    """
    Set the driver of hosts' interfaces.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='module'>
    The driver's name; NULL clears it. May be given as module=…
    </arg>

    <example cmd='set host interface module compute-0-0 eth0 e1000'>
    It needs the driver e1000.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, module = self.fillPositionalArgs(("iface", "module"))
        if not iface:
            self.abort("must supply iface")
        if not module:
            self.abort("must supply module")
        set_module(self.db, self.getSomeHostnames(hosts), iface, module)
