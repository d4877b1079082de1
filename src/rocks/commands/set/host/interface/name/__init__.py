"""`rocks set host interface name`"""

import rocks.commands
from rocks.actions.interfaces import set_name


class Command(rocks.commands.Command):
    """
    Set the name that a host has on an interface's network.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='name'>
    The name, without the domain, which the network adds; NULL makes it the host's own. May be given as name=…
    </arg>

    <example cmd='set host interface name compute-0-0 eth0 storage-0-0'>
    It is known by that name there.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, name = self.fillPositionalArgs(("iface", "name"))
        if not iface:
            self.abort("must supply iface")
        if not name:
            self.abort("must supply name")
        set_name(self.db, self.getOneHostname(hosts), iface, name)
