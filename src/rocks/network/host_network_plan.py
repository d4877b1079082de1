"""The network devices that a host is to have: names by MAC address, bridges, addresses. Pure.

A device of a VM container is a bridge of that name, whose port is the adapter `p` and the name: there VLANs of clusters
are made, and the host's guests are attached to the bridge. With the option `novtap` or `nobridge` the adapter itself
has the name. An adapter may also be a bond, whose members have no address. Source: specification §4.2 and §5.5.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.network.device_options import (
    BondOption,
    bond_options,
    is_bond,
    is_unbridged,
    is_unreported,
    uses_dhcp,
)
from rocks.network.gateway_rules import host_gateway, is_default, is_on, primary_network
from rocks.network.guest_connections import LONGEST_DEVICE_NAME, kernel_device
from rocks.network.network_rules import DEFAULT_MTU_BYTES
from rocks.network.route_rules import Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.inventory.records import Host, Interface

_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)
_MTU_BYTES = range(576, 65536)


class DeviceRoute(NamedTuple):
    """A route through a device: its destination with a prefix length, and a gateway or ''."""

    destination: str
    gateway: str


class HostDevice(NamedTuple):
    """A device: the adapter's name and MAC address in lower case, the bridge over it or '', an address with its prefix
    length or '' and a gateway or '' of that bridge or adapter, and the MTU in bytes of all of it.

    `channel` is the bond whose member the adapter is, or ''. `bond` has the options of an adapter that is a bond, which
    has a MAC address of its own only if the database names one; it is None for hardware.
    """

    adapter: str
    mac: str
    bridge: str
    address: str
    gateway: str
    mtu_bytes: int
    routes: tuple[DeviceRoute, ...] = ()
    channel: str = ""
    bond: tuple[BondOption, ...] | None = None
    uses_dhcp: bool = False

    @property
    def name(self) -> str:
        """The name in the database, by which the host's address is found."""
        return self.bridge or self.adapter


_Planned = tuple["Interface", HostDevice]


def plan_devices(host: Host) -> tuple[HostDevice, ...]:
    """The devices of a host that have a MAC address, and its bonds, that on the primary network first; () for none.

    Each has the routes of the host that lead through it. Devices of Open vSwitch and InfiniBand, and those with the
    option `noreport`, are the operator's. UserError, with the command that corrects it, for an invalid record.
    """
    bonds = {one.device: one for one in host.interfaces if is_bond(one)}
    chosen = [one for one in host.interfaces if one.device and _is_ours(one)]
    primary = primary_network(host).lower()
    chosen.sort(key=lambda one: (one.subnet or "").lower() != primary)
    planned = [(one, _device(host, one, bonds)) for one in chosen]
    found = _with_routes(host, _with_gateway(host, planned))
    _check_distinct(host, found)
    return tuple(found)


def unreachable_routes(host: Host, devices: Sequence[HostDevice]) -> list[Route]:
    """The routes of the host's own whose gateway is on the network of none of the devices."""
    reached = {route.gateway for one in devices for route in one.routes} | {one.gateway for one in devices}
    own = {one.address.partition("/")[0] for one in devices}
    return [
        one.route
        for one in host.routes
        if one.source == "H" and one.route.gateway and one.route.gateway not in reached | own
    ]


def _with_gateway(host: Host, planned: Sequence[_Planned]) -> list[_Planned]:
    """The device of the default route has its gateway; without a route that of the attribute is meant."""
    has_route = any(is_default(one.route) for one in host.routes)
    gateway = host_gateway(host)
    with_address = [place for place, (_, device) in enumerate(planned) if device.address]
    found = list(planned)
    for place in with_address if has_route else with_address[:1]:
        interface, device = found[place]
        if gateway and is_on(device.address, gateway):
            found[place] = interface, device._replace(gateway=gateway)
            break
    return found


def _with_routes(host: Host, planned: Sequence[_Planned]) -> list[HostDevice]:
    """The devices with the routes that lead through them; a route through none of them does not apply to the host."""
    routes: dict[str, list[DeviceRoute]] = {}
    for route, _ in host.routes:
        if is_default(route) and route.gateway:
            continue
        for interface, device in planned:
            is_on_subnet = bool(route.subnet) and (interface.subnet or "").lower() == route.subnet.lower()
            if device.address and (is_on_subnet or (route.gateway and is_on(device.address, route.gateway))):
                routes.setdefault(device.name, []).append(_device_route(host, route))
                break
    return [device._replace(routes=tuple(routes.get(device.name, ()))) for _, device in planned]


def _device_route(host: Host, route: Route) -> DeviceRoute:
    try:
        return DeviceRoute(route.destination, route.gateway)
    except UserError as error:
        raise UserError(
            f"a route of host {host.name} is not valid: {error}; rocks list host route {host.name}"
        ) from None


def _is_ours(interface: Interface) -> bool:
    is_ethernet = len((interface.mac or "").split(":")) == 6 or (is_bond(interface) and not interface.mac)
    is_others = (interface.module or "").startswith("ovs") or is_unreported(interface)
    return is_ethernet and not interface.is_vlan and not is_others


def _device(host: Host, interface: Interface, bonds: Mapping[str | None, Interface]) -> HostDevice:
    name, mac = str(interface.device), (interface.mac or "").lower()
    of_bond = None if is_bond(interface) else bonds.get(interface.channel)
    adapter = name if of_bond else _adapter(host, interface)
    check_device_name(host, interface, adapter)
    if not _MAC.fullmatch(mac) and not (is_bond(interface) and not mac):
        raise UserError(
            f'the MAC address "{printable(mac)}" of {name} is not valid: rocks set host interface mac {host.name} '
            f"{name}"
        )
    mtu_bytes = interface.mtu_bytes or DEFAULT_MTU_BYTES
    if mtu_bytes not in _MTU_BYTES:
        raise UserError(
            f"the network {printable(str(interface.subnet))} has the MTU {mtu_bytes}, not one from "
            f"{_MTU_BYTES[0]} to {_MTU_BYTES[-1]}: rocks set network mtu"
        )
    return HostDevice(
        adapter,
        mac,
        "" if adapter == name else name,
        "" if of_bond or uses_dhcp(interface) else interface_address(interface),
        "",
        mtu_bytes,
        channel=_adapter(host, of_bond) if of_bond else "",
        bond=bond_options(interface) if is_bond(interface) else None,
        uses_dhcp=uses_dhcp(interface),
    )


def check_device_name(host: Host, interface: Interface, adapter: str) -> None:
    """UserError unless the adapter of an interface can have that name in Linux and in the files of all services."""
    if not _DEVICE.fullmatch(adapter) or len(adapter) > LONGEST_DEVICE_NAME:
        raise UserError(
            f'the device "{printable(str(interface.device))}" of host {host.name} is not a valid name: rocks set host '
            "interface iface"
        )


def _adapter(host: Host, interface: Interface) -> str:
    """The name of the device below the bridge, or of the device that has none."""
    name = str(interface.device)
    return (
        kernel_device(name, interface.options)
        if host.is_true("kvm") and not is_unbridged(interface)
        else name
    )


def interface_address(interface: Interface) -> str:
    """The address of an interface with its prefix length, '' for none. UserError when it is not valid."""
    if not interface.ip:
        return ""
    try:
        return ipaddress.IPv4Interface(f"{interface.ip}/{interface.netmask}").with_prefixlen
    except ValueError:
        raise UserError(
            f'the device {interface.device} has the address "{printable(interface.ip)}" with the netmask '
            f'"{printable(str(interface.netmask))}", which are not valid together: rocks set host interface ip '
            f"{interface.host} {interface.device}, rocks set network netmask"
        ) from None


def _check_distinct(host: Host, devices: Sequence[HostDevice]) -> None:
    for what, values in (
        ("name", [name for one in devices for name in {one.adapter, one.name}]),
        ("MAC address", [one.mac for one in devices if one.mac]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(
                f"two devices of host {host.name} have the {what} {twice}: rocks list host interface {host.name}"
            )
