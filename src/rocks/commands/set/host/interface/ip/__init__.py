"""`rocks set host interface ip`"""

import rocks.commands
from rocks.actions.interfaces import set_ip


class Command(rocks.commands.Command):
    """
    Set the IPv4 address of an interface.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='ip'>
    The address, one of the interface's network that nobody has; NULL clears it. May be given as ip=…
    </arg>

    <example cmd='set host interface ip compute-0-0 eth0 10.1.255.254'>
    Its address on the network of eth0.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, ip = self.fillPositionalArgs(("iface", "ip"))
        if not iface:
            self.abort("must supply iface")
        if not ip:
            self.abort("must supply ip")
        set_ip(self.db, self.getOneHostname(hosts), iface, ip)
