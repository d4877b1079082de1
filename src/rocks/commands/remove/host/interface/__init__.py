"""`rocks remove host interface`"""

import rocks.commands
from rocks.network.interfaces import remove_interfaces


class Command(rocks.commands.Command):
    """
    Remove interfaces of hosts from the database.

    <shared names='hosts'/>
    <arg type='string' name='iface'>
    The interface, by device or MAC address; % matches any text. Alternative form: iface=IFACE.
    </arg>

    <example cmd='remove host interface compute-0-0 eth1'>
    Remove one interface.
    </example>
    <example cmd='remove host interface compute eth1'>
    The interface of all computes.
    </example>

    <related>add host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the interfaces."""
        hosts, (iface,) = self.requireArguments("iface")
        remove_interfaces(self.db, self.getSomeHostnames(hosts), iface)
