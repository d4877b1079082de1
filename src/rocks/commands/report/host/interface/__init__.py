"""`rocks report host interface`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._framework.plugins import run_plugin
from rocks.commands._shared.file_blocks import add_file_block, report_files
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.network.host_network_files import device_files, file_permissions, interface_files
from rocks.network.host_network_plan import plan_network

if TYPE_CHECKING:
    from rocks.commands._framework.plugins import Plugin
    from rocks.inventory.records import Host

_OF_PACKAGES = {"deb": "networkd", "rpm": "ifcfg"}
_READERS = {"networkd": "deb", "networkmanager": "rpm"}
_FORMATS = ("ifcfg", *_READERS)


class Command(rocks.commands.Command):
    """
    Report the files of the network devices of hosts, as text for rocks report script: those of systemd-networkd for
    a host with Debian packages, and ifcfg files for one with RPM packages (the attribute packaging).

    In ifcfg files an interface without an address, VLAN and channel is off at boot. Options of an interface that begin
    with noreport leave it out, and with dhcp give it its address by DHCP; nobridge and novtap let a host of virtual
    machines have no bridge over it. An interface with an address for which there is no file is named on standard error.
    Plugins may change the lines of ifcfg files: run is called with a dict of host, net_id (the row of the interface)
    and text, a list of lines.

    <shared names='any-hosts'/>
    <param type='string' name='iface' default='all interfaces'>
    Report only this interface, by device or MAC address.
    </param>
    <param type='string' name='format' default='as the packages of the host'
          values='ifcfg,networkd,networkmanager'>
    ifcfg, networkd or networkmanager, whose files a profile writes on hosts with RPM packages.
    </param>

    <example cmd='report host interface compute-0-0'>
    The files of one host.
    </example>
    <example cmd='report host interface compute-0-0 iface=eth0 format=networkmanager'>
    The files of one device for NetworkManager.
    </example>

    <related>list host interface</related>
    <related>sync host network</related>
    <related>report script</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files of each host."""
        requested, iface = self.fillText("format", ""), self.fillText("iface", "")
        if requested and requested not in _FORMATS:
            raise UserError(f'format "{printable(requested)}" must be one of {", ".join(_FORMATS)}')
        plugins = self.loadPlugins()

        def add_files(host: Host) -> None:
            chosen = requested or _OF_PACKAGES.get(host.attribute("packaging"), _OF_PACKAGES["deb"])
            if chosen == "ifcfg":
                self._add_ifcfg(host, iface, plugins)
            else:
                self._add_devices(host, iface, _READERS[chosen])

        report_files(self, args, add_files)

    def _add_ifcfg(self, host: Host, iface: str, plugins: list[Plugin]) -> None:
        files, left_out = interface_files(host, iface)
        for text in left_out:
            self.notify(text)
        for found in files:
            for plugin in plugins:
                given = {"host": host.name, "net_id": found.interface_id, "text": found.lines}
                run_plugin(plugin, self.command_path, given)
            add_file_block(self, host.name, found.path, found.lines)

    def _add_devices(self, host: Host, iface: str, packaging: str) -> None:
        devices, left_out = plan_network(host)
        if iface:
            devices = tuple(one for one in devices if iface.lower() in (one.name.lower(), one.mac))
            left_out = tuple(one for one in left_out if iface.lower() == one.device.lower())
        for one in left_out:
            self.notify(one.text)
        for path, text in device_files(devices, packaging).items():
            permissions = file_permissions(path) if packaging == "rpm" else ""
            add_file_block(self, host.name, path, text.splitlines(), permissions)
