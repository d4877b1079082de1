"""Files of the initscripts of RHEL for a host's network: ifcfg, static routes, host name and gateway. Pure.

Hosts of this roll read those of `host_network`; these are for scripts and rolls that know Rocks' reports. Values are
quoted for a shell, which reads the files. Source: specification §4.2, §4.3 and §4.5.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.network.device_options import bond_options, is_bond, is_unbridged, is_unreported, uses_dhcp
from rocks.network.guest_connections import long_vlan_name
from rocks.network.host_network_plan import check_device_name, left_out_interface, no_file
from rocks.network.route_rules import ANYWHERE, ONE_HOST, device_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rocks.inventory.records import Host, Interface

_FOLDER = "/etc/sysconfig/network-scripts"
STATIC_ROUTES = "/etc/sysconfig/static-routes"
NETWORK = "/etc/sysconfig/network"


class InterfaceFile(NamedTuple):
    """A file of an interface: its path, the number of the interface's row, and lines without their ends."""

    path: str
    interface_id: int
    lines: list[str]


def interface_files(host: Host, iface: str = "") -> tuple[list[InterfaceFile], list[str]]:
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
