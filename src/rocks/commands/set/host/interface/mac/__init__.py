"""`rocks set host interface mac`"""

import rocks.commands
from rocks.actions.interfaces import set_mac


class Command(rocks.commands.Command):
    """
    Set the MAC address of an interface.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='mac'>
    The address, which nobody else has; NULL clears it. May be given as mac=…
    </arg>

    <example cmd='set host interface mac compute-0-0 eth0 00:11:22:33:44:55'>
    The adapter was exchanged.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, mac = self.fillPositionalArgs(("iface", "mac"))
        if not iface:
            self.abort("must supply iface")
        if not mac:
            self.abort("must supply mac")
        set_mac(self.db, self.getOneHostname(hosts), iface, mac)
