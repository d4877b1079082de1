"""`rocks set host interface iface`"""

import rocks.commands
from rocks.actions.interfaces import set_device


class Command(rocks.commands.Command):
    """
    Set the device of an interface that is known by its MAC address.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='mac'>
    MAC address of the interface. May be given as mac=…
    </arg>
    <arg type='string' name='iface'>
    The device, such as eth1; NULL clears it. May be given as iface=…
    </arg>

    <example cmd='set host interface iface compute-0-0 00:11:22:33:44:55 eth1'>
    The adapter with that address is eth1.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, mac, iface = self.fillPositionalArgs(("mac", "iface"))
        if not mac:
            self.abort("must supply mac")
        if not iface:
            self.abort("must supply iface")
        set_device(self.db, self.getOneHostname(hosts), mac, iface)
