"""`rocks config host interface`"""

import rocks.commands
from rocks.commands._shared.after_change import sync_config_after
from rocks.network.interface_rules import read_adapters
from rocks.network.interfaces import configure_interfaces


class Command(rocks.commands.Command):
    """
    Record the network adapters that a host has. The values of the parameters belong together by their place in the
    lists. Afterwards each listed MAC address has its listed device; new ones are added. If the adapter with the flag
    ks is not that of the network private, the two are exchanged: address, network and name of the private interface
    end on it. Other addresses stay where they are. If anything has changed, rocks sync config follows.

    <shared names='one-host'/>
    <param type='string' name='iface' optional='0'>
    Devices, separated by commas.
    </param>
    <param type='string' name='mac' optional='0'>
    The MAC address of each device.
    </param>
    <param type='string' name='module' default='none'>
    The driver of each device; an empty one is not known.
    </param>
    <param type='string' name='flag' default='none'>
    ks for the device from which the host was installed, empty for others.
    </param>
    <shared names='dry-run'/>

    <example cmd='config host interface compute-0-0 iface=eth0,eth1 mac=52:54:00:00:00:01,52:54:00:00:00:02 flag=,ks'>
    The host was installed from eth1, which gets the private address.
    </example>
    <example cmd='config host interface compute-0-0 iface=eth0 mac=52:54:00:00:00:01 module=e1000'>
    One interface, with its kernel module.
    </example>

    <related>swap host interface</related>
    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Record the adapters."""
        host = self.getOneHostname(args)
        adapters = read_adapters(*(self.fillText(name, "") for name in ("iface", "mac", "module", "flag")))
        if configure_interfaces(self.db, host, adapters):
            sync_config_after(self)
