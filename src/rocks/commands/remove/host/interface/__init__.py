"""`rocks remove host interface`"""

import rocks.commands
from rocks.actions.interfaces import remove_interfaces


class Command(rocks.commands.Command):
    """
    Remove interfaces of hosts from the database.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address; % stands for any text. May be given as iface=…
    </arg>

    <example cmd='remove host interface compute-0-0 eth1'>
    One interface.
    </example>

    <related>add host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove them."""
        hosts, iface = self.fillPositionalArgs(("iface",))
        if not iface:
            self.abort("must supply iface")
        remove_interfaces(self.db, self.getSomeHostnames(hosts), iface)
