"""`rocks swap host interface`"""

import rocks.commands
from rocks.commands._shared.after_change import sync_config_after
from rocks.core.errors import UserError
from rocks.network.interfaces import swap_interfaces


class Command(rocks.commands.Command):
    """
    Exchange the MAC addresses, devices, modules and options of two interfaces of a host. Each address, network and
    name stays with its row, so it moves to the other adapter.

    <shared names='one-host'/>
    <param type='string' name='ifaces' optional='0' of='iface'>
    Two interfaces, by device or MAC address, separated by a comma.
    </param>
    <param type='bool' name='sync-config' default='yes'>
    Run rocks sync config afterwards.
    </param>
    <shared names='dry-run'/>

    <example cmd='swap host interface compute-0-0 ifaces=eth0,eth1'>
    The address of eth0 is on the adapter eth1 now, and that of eth1 on eth0.
    </example>
    <example cmd='swap host interface compute-0-0 ifaces=eth0,eth1 sync-config=no'>
    Without writing the frontend's files.
    </example>

    <related>config host interface</related>
    <related>list host interface</related>
    <related>sync host network</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Exchange the adapters."""
        host = self.getOneHostname(args)
        ifaces = [part.strip() for part in self.fillText("ifaces", "").split(",") if part.strip()]
        if len(ifaces) != 2:
            raise UserError("must supply two interfaces: ifaces=eth0,eth1")
        syncs = self.fillFlag("sync-config", True)
        swap_interfaces(self.db, host, *ifaces)
        if syncs:
            sync_config_after(self)
