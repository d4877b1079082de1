"""`rocks set host interface channel`"""

import rocks.commands
from rocks.actions.interfaces import set_channel


class Command(rocks.commands.Command):
    """
    Set the channel of hosts' interfaces.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='channel'>
    The channel, such as the name of the bond that they are part of; NULL clears it. May be given as channel=…
    </arg>

    <example cmd='set host interface channel compute-0-0 eth0 bond0'>
    It is part of bond0.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, channel = self.fillPositionalArgs(("iface", "channel"))
        if not iface:
            self.abort("must supply iface")
        if not channel:
            self.abort("must supply channel")
        set_channel(self.db, self.getSomeHostnames(hosts), iface, channel)
