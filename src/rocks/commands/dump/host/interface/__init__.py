"""`rocks dump host interface`"""

import rocks.commands.dump
from rocks.commands._framework.shell_quoting import positional
from rocks.network import interfaces


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the interfaces of hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host interface compute-0-0'>
    One host.
    </example>
    <example cmd='dump host interface'>
    All hosts.
    </example>

    <related>dump host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each interface and one for each value that it has."""
        names = self.getHostnames(args)
        for row in interfaces.list_interfaces(self.db, names):
            host, subnet, device, mac, ip, _, module, interface_name, vlan, options, channel = row
            key = str(device or mac)
            self.dump("add", "host", "interface", str(host), key)
            values = (
                ("ip", ip),
                ("name", interface_name),
                ("mac", mac if device else None),
                ("module", module),
                ("subnet", subnet),
                ("vlan", vlan or None),  # 0 is none
                ("options", options),
                ("channel", channel),
            )
            for name, value in values:
                if value is not None and value != "":
                    self.dump("set", "host", "interface", name, str(host), key, positional(name, str(value)))
        for host, device, disabled in interfaces.list_disabled(self.db, names):
            if disabled:
                self.dump("set", "host", "interface", "disablekvm", str(host), str(device), "yes")
