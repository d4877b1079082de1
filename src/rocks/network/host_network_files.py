"""Files of a host's network devices: for systemd-networkd, NetworkManager and the initscripts of RHEL. Pure."""

from __future__ import annotations

import shlex
import uuid
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.network.guest_connections import kernel_device, long_vlan_name
from rocks.network.host_network_plan import (
    bond_options,
    check_device_name,
    is_bond,
    is_unbridged,
    is_unreported,
    left_out_interface,
    no_file,
    uses_dhcp,
)
from rocks.network.route_rules import ANYWHERE, ONE_HOST, device_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.inventory.records import Host, Interface
    from rocks.network.host_network_plan import BondOption, HostDevice


# Files of a host's network devices: for systemd-networkd on Debian, for NetworkManager on RHEL.
#
# The names come from files of systemd.link(5) on both: adapters get them by their own MAC address, which bridges and
# VLAN devices above them do not have. Sources: systemd.network(5), systemd.netdev(5), nm-settings-keyfile(5).

SERVICES = {"deb": "systemd-networkd.service", "rpm": "NetworkManager.service"}
"""Kind of packages → the unit that reads the files."""

_NETWORKD = "/etc/systemd/network"
_BRIDGES = "/etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf"
_SOCKET = "/etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf"
_WAIT_SECONDS = 180
_START_SECONDS = 300
_MANAGER = "/etc/NetworkManager/system-connections"
MARK = "# Written by Rocks, which removes it when the host no longer has the device."
"""The first line of each file of systemd, also of those that our installer writes."""

_SPACE = uuid.UUID("5a0c3c0e-6f0b-4c0f-9a51-3f6a6a3c9f10")
"""The name space of the connections' identities, which are the same for the same device."""

_BOND_SETTINGS = {
    "mode": ("Mode", ""),
    "miimon": ("MIIMonitorSec", "ms"),
    "updelay": ("UpDelaySec", "ms"),
    "downdelay": ("DownDelaySec", "ms"),
    "lacp_rate": ("LACPTransmitRate", ""),
    "xmit_hash_policy": ("TransmitHashPolicy", ""),
    "primary_reselect": ("PrimaryReselectPolicy", ""),
    "arp_interval": ("ARPIntervalSec", "ms"),
    "arp_ip_target": ("ARPIPTargets", ""),
    "arp_validate": ("ARPValidate", ""),
    "ad_select": ("AdSelect", ""),
    "fail_over_mac": ("FailOverMACPolicy", ""),
    "min_links": ("MinLinks", ""),
    "num_grat_arp": ("GratuitousARP", ""),
    "resend_igmp": ("ResendIGMP", ""),
    "packets_per_slave": ("PacketsPerSlave", ""),
    "all_slaves_active": ("AllSlavesActive", ""),
}
"""The bonding driver's option → systemd's setting and the unit of its value."""

_Section = tuple[str, list[tuple[str, str]]]

_NO_SOCKET: _Section = ("Unit", [("ConditionPathExists", "!/sys/class/net")])
"""For the service's socket, which is not opened then. It would keep what the kernel says from the start of the boot:
a service that has made the bridge eth0, and then reads there of the adapter eth0, leaves the adapter off."""


def network_files(devices: Sequence[HostDevice], packaging: str) -> dict[str, str]:
    """Path → content, with the routes. Files of NetworkManager are for root only."""
    found = device_files(devices, packaging) | route_files(devices, packaging)
    bridged = [device.adapter for device in devices if device.bridge and device.bond is None]
    if not bridged or packaging == "rpm":
        return found
    return found | {_BRIDGES: _waiting(bridged), _SOCKET: _marked(_NO_SOCKET)}


def device_files(devices: Sequence[HostDevice], packaging: str) -> dict[str, str]:
    """Path → content of the devices; NetworkManager has the routes of a device there, too."""
    found: dict[str, str] = {}
    for device in devices:
        if device.bond is None:
            found[f"{_NETWORKD}/10-{device.adapter}.link"] = _marked(
                ("Match", [("PermanentMACAddress", device.mac)]),
                ("Link", [("Name", device.adapter), ("MTUBytes", str(device.mtu_bytes))]),
            )
        found |= dict(
            _manager_files(device)
            if packaging == "rpm"
            else _networkd_files(device, _primary_of(device, devices))
        )
    return found


def route_files(devices: Sequence[HostDevice], packaging: str) -> dict[str, str]:
    """Path → content of the routes of systemd-networkd's devices, which are separate parts of its devices' files."""
    if packaging == "rpm":
        return {}
    return {
        f"{_NETWORKD}/10-{device.name}.network.d/routes.conf": _marked(
            *(
                (
                    "Route",
                    [
                        ("Destination", route.destination),
                        *([("Gateway", route.gateway)] if route.gateway else []),
                    ],
                )
                for route in device.routes
            )
        )
        for device in devices
        if device.routes
    }


def removal_text(devices: Sequence[HostDevice], packaging: str, left_out: Sequence[str] = ()) -> str:
    """A call of a profile's function that removes the files of devices that are no longer among these: those of
    systemd begin with `MARK`; NetworkManager writes its files anew without comments, and there the name counts.

    The present files of devices that are left out stay.
    """
    present = [
        path
        for name in left_out
        for one in (name, kernel_device(name, ""))
        for path in (
            *(
                f"{_NETWORKD}/10-{one}.{kind}"
                for kind in ("link", "netdev", "network", "network.d/routes.conf")
            ),
            f"{_MANAGER}/rocks-{one}.nmconnection",
        )
    ]
    bridges = [_BRIDGES, _SOCKET] if left_out else []
    paths = dict.fromkeys((*network_files(devices, packaging), *present, *bridges))
    return f"rocks_marked_files_absent {shlex.join([MARK, *paths])}"


def file_permissions(path: str) -> str:
    """Octal digits: NetworkManager takes no file that others can read."""
    return "600" if path.startswith(_MANAGER) else "644"


def _waiting(adapters: Sequence[str]) -> str:
    """networkd makes a bridge when it starts, and never again: not while the adapter still has the bridge's name.

    The kernel names the first adapter eth0, and udev renames it, perhaps after that start, on a slow machine a minute
    and more after it. `udevadm wait` came with systemd 251; an adapter that is not there holds the network up for the
    time given. The wait is part of the service's start, for which systemd's limit is 90 s.
    """
    paths = " ".join(f"/sys/class/net/{name}" for name in adapters)
    program = f"+-/usr/bin/udevadm wait --timeout={_WAIT_SECONDS} {paths}"
    return _marked(("Service", [("ExecStartPre", program), ("TimeoutStartSec", str(_START_SECONDS))]))


def _networkd_files(device: HostDevice, is_primary: bool) -> Iterator[tuple[str, str]]:
    if device.channel:
        settings = [("Bond", device.channel), *([("PrimarySlave", "yes")] if is_primary else [])]
        yield _network(device.adapter, settings)
        return
    if device.bond is not None:
        kind = _netdev(device.adapter, "bond", device, "" if device.bridge else device.mac)
        yield f"{_NETWORKD}/10-{device.adapter}.netdev", _marked(kind, ("Bond", _bond_settings(device.bond)))
    if device.bridge:
        kind = _netdev(device.bridge, "bridge", device, device.mac)
        yield f"{_NETWORKD}/10-{device.bridge}.netdev", _marked(kind, ("Bridge", [("STP", "no")]))
        yield _network(device.adapter, [("Bridge", device.bridge), ("LinkLocalAddressing", "no")])
    settings = [("LinkLocalAddressing", "no")]
    if device.address:
        settings.insert(0, ("Address", device.address))
    if device.uses_dhcp:
        settings.insert(0, ("DHCP", "ipv4"))
    if device.gateway:
        settings.append(("Gateway", device.gateway))
    # the boot does not wait for a device without an address
    yield _network(device.name, settings, is_required=bool(device.address or device.uses_dhcp))


def _network(name: str, settings: list[tuple[str, str]], is_required: bool = True) -> tuple[str, str]:
    link: list[_Section] = [] if is_required else [("Link", [("RequiredForOnline", "no")])]
    return f"{_NETWORKD}/10-{name}.network", _marked(
        ("Match", [("Name", name)]), *link, ("Network", settings)
    )


def _netdev(name: str, kind: str, device: HostDevice, mac: str) -> _Section:
    settings = [("Name", name), ("Kind", kind), *([("MACAddress", mac)] if mac else [])]
    return "NetDev", [*settings, ("MTUBytes", str(device.mtu_bytes))]


def _bond_settings(options: Sequence[BondOption]) -> list[tuple[str, str]]:
    found = []
    for option in options:
        if option.name in _BOND_SETTINGS:
            name, unit = _BOND_SETTINGS[option.name]
            value = option.value.replace(",", " ") if option.name == "arp_ip_target" else option.value
            found.append((name, value + unit))
    return found


def _primary_of(device: HostDevice, devices: Sequence[HostDevice]) -> bool:
    """Whether the device is the member that its bond prefers."""
    bond = next((one.bond for one in devices if device.channel and one.adapter == device.channel), None)
    return any(option.name == "primary" and option.value == device.adapter for option in bond or ())


def _manager_files(device: HostDevice) -> Iterator[tuple[str, str]]:
    ethernet: _Section = ("ethernet", [("mtu", str(device.mtu_bytes))])
    bonding: list[_Section] = (
        [] if device.bond is None else [("bond", [(option.name, option.value) for option in device.bond])]
    )
    kind = "ethernet" if device.bond is None else "bond"
    if device.channel:
        port = [("master", device.channel), ("slave-type", "bond")]
        yield _connection(device.adapter, "ethernet", port, [ethernet])
        return
    ends: list[_Section] = [("ipv4", _manager_addresses(device)), ("ipv6", [("method", "disabled")])]
    if not device.bridge:
        yield _connection(device.adapter, kind, [], [ethernet, *bonding, *ends])
        return
    bridge = ("bridge", [*([("mac-address", device.mac)] if device.mac else []), ("stp", "false")])
    yield _connection(device.bridge, "bridge", [], [ethernet, bridge, *ends])
    port = [("master", device.bridge), ("slave-type", "bridge")]
    yield _connection(device.adapter, kind, port, [ethernet, *bonding])


def _manager_addresses(device: HostDevice) -> list[tuple[str, str]]:
    if device.uses_dhcp:
        return [("method", "auto")]
    if not device.address:
        return [("method", "disabled")]
    found = [("method", "manual")]
    found.append(("address1", device.address + (f",{device.gateway}" if device.gateway else "")))
    for number, route in enumerate(device.routes, 1):
        found.append((f"route{number}", route.destination + (f",{route.gateway}" if route.gateway else "")))
    return found


def _connection(
    name: str, kind: str, more: list[tuple[str, str]], sections: list[_Section]
) -> tuple[str, str]:
    """A keyfile, by the name of its device."""
    first = [
        ("id", name),
        ("uuid", str(uuid.uuid5(_SPACE, name))),
        ("type", kind),
        ("interface-name", name),
        *more,
    ]
    return f"{_MANAGER}/rocks-{name}.nmconnection", _text(("connection", first), *sections)


def _marked(*sections: _Section) -> str:
    """A file of systemd."""
    return f"{MARK}\n{_text(*sections)}"


def _text(*sections: _Section) -> str:
    parts = (
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings) for name, settings in sections
    )
    return "\n".join(parts)


# Files of the initscripts of RHEL for a host's network: ifcfg, static routes, host name and gateway.
#
# Hosts of this roll read those of `host_network`; these are for scripts and rolls that know Rocks' reports. Values are
# quoted for a shell, which reads the files.

_FOLDER = "/etc/sysconfig/network-scripts"
STATIC_ROUTES = "/etc/sysconfig/static-routes"
NETWORK = "/etc/sysconfig/network"


class InterfaceFile(NamedTuple):
    """A file of an interface: its path, the number of the interface's row, and lines without their ends."""

    path: str
    interface_id: int
    lines: list[str]


def interface_files(host: Host, iface: str) -> tuple[list[InterfaceFile], list[str]]:
    """The ifcfg files of a host, or of the interface with that device or MAC address; and a sentence on each interface
    that is not valid, or has an address that no file has.

    On a host of virtual machines a device with an address is a bridge over the adapter `p` and its name.
    """
    bonds = {one.device: one for one in host.interfaces if is_bond(one)}
    found: list[InterfaceFile] = []
    left_out: list[str] = []
    for interface in host.interfaces:
        is_chosen = not iface or iface.lower() in (
            (interface.device or "").lower(),
            (interface.mac or "").lower(),
        )
        if not is_chosen or is_unreported(interface) or interface.is_bmc:
            continue
        try:
            files = list(_devices(host, interface, bonds)) if interface.device else []
            for device, _ in files:
                check_device_name(host, interface, device)
        except UserError as error:
            left_out.append(left_out_interface(interface, str(error)).text)
            continue
        found += [InterfaceFile(f"{_FOLDER}/ifcfg-{device}", interface.id, lines) for device, lines in files]
        has_address = any(line.startswith("IPADDR=") for _, lines in files for line in lines)
        if interface.ip and not has_address and not uses_dhcp(interface):
            reason = no_file(interface) or "no ifcfg file has its address"
            left_out.append(left_out_interface(interface, reason).text)
    return found, left_out


def static_routes(host: Host) -> list[str]:
    """The lines of static-routes: all routes of a host but the default route, those by its own addresses, and those
    through networks that it is not on.
    """
    own = {one.ip for one in host.interfaces if one.ip}
    lines = []
    for route, _ in host.routes:
        device = "" if route.gateway else device_on(host.interfaces, route.subnet)
        if route.network == ANYWHERE or route.gateway in own or not (route.gateway or device):
            continue
        is_host = route.netmask == ONE_HOST
        place = f"host {route.network}" if is_host else f"net {route.network} netmask {route.netmask}"
        through = f"gw {route.gateway}" if route.gateway else f"dev {device}"
        lines.append(f"any {place} {through}")
    return lines


def network_lines(host_name: str, gateway: str, device: str) -> list[str]:
    """The lines of sysconfig's `network`; the host's name has its domain, gateway and device may be ''."""
    values = {"NETWORKING": "yes", "HOSTNAME": host_name, "GATEWAY": gateway, "GATEWAYDEV": device}
    return [_line(name, value) for name, value in values.items() if value]


def _devices(
    host: Host, interface: Interface, bonds: Mapping[str | None, Interface]
) -> Iterator[tuple[str, list[str]]]:
    """(device, lines) of each file of an interface."""
    name, is_container = str(interface.device), host.is_true("kvm")
    bond = None if is_bond(interface) else bonds.get(interface.channel)
    if interface.is_vlan:
        parent = device_on(host.interfaces, interface.subnet) if interface.subnet else ""
        if not is_container and parent and interface.vlan:
            device = long_vlan_name(parent, interface.vlan)
            yield device, [_line("DEVICE", device), "VLAN=yes", *_addresses(interface)]
        return
    if bond is not None:
        master = f"p{bond.device}" if is_container and _is_bridged(bond) else str(bond.device)
        member = [_line("MASTER", master), "SLAVE=yes", "BOOTPROTO=none", "ONBOOT=yes"]
        yield name, [*_hardware(name, interface), *member, *_mtu(interface)]
        return
    if not is_container or not _is_bridged(interface):
        yield name, [*_hardware(name, interface), *_addresses(interface)]
        return
    adapter = _hardware(f"p{name}", interface)
    if not _has_address(interface):
        yield f"p{name}", [*adapter, "BOOTPROTO=none", _on_boot(interface), *_mtu(interface)]
        return
    yield f"p{name}", [*adapter, f'BRIDGE="{name}"', "BOOTPROTO=none", "ONBOOT=yes", *_mtu(interface)]
    yield name, [_line("DEVICE", name), "TYPE=Bridge", *_addresses(interface)]


def _is_bridged(interface: Interface) -> bool:
    is_infiniband = str(interface.device).startswith("ib")
    is_open_vswitch = (interface.module or "").startswith("ovs")
    return not (is_infiniband or is_open_vswitch or is_unbridged(interface))


def _has_address(interface: Interface) -> bool:
    return bool(interface.ip and interface.netmask) or uses_dhcp(interface)


def _hardware(device: str, interface: Interface) -> list[str]:
    lines = [_line("DEVICE", device)]
    if interface.mac:
        lines.append(_line("HWADDR", interface.mac))
    if device.startswith("ib"):
        lines.append("TYPE=InfiniBand")
    if is_bond(interface):
        options = " ".join(f"{option.name}={option.value}" for option in bond_options(interface))
        lines += ["TYPE=Bond", "BONDING_MASTER=yes", *([f'BONDING_OPTS="{options}"'] if options else [])]
    return lines


def _addresses(interface: Interface) -> list[str]:
    lines = []
    if uses_dhcp(interface):
        lines.append("BOOTPROTO=dhcp")
    else:
        if _has_address(interface):
            lines += [_line("IPADDR", str(interface.ip)), _line("NETMASK", str(interface.netmask))]
        lines.append("BOOTPROTO=none")
    return [*lines, _on_boot(interface), *_mtu(interface)]


def _on_boot(interface: Interface) -> str:
    return f"ONBOOT={'yes' if _has_address(interface) or interface.vlan or interface.channel else 'no'}"


def _mtu(interface: Interface) -> list[str]:
    return [f"MTU={interface.mtu_bytes}"] if interface.mtu_bytes else []


def _line(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}"
