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
from rocks.inventory.mac_pool import mac_fault
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


class LeftOut(NamedTuple):
    """What of a network is not set up: the device, or '' for a route or gateway, and a sentence with a command."""

    device: str
    text: str


class HostNetwork(NamedTuple):
    """The devices of a host, that on the primary network first, and what is left out for its record."""

    devices: tuple[HostDevice, ...]
    left_out: tuple[LeftOut, ...]


def plan_network(host: Host) -> HostNetwork:
    """The devices of a host that have a MAC address, and its bonds, each with the routes that lead through it.

    Devices of Open vSwitch, BMCs, and those with the option `noreport`, are others'. What has an address and gets no
    file, and each invalid record, is left out alone.
    """
    left: list[LeftOut] = []
    chosen = []
    for one in host.interfaces:
        is_others = (one.module or "").startswith("ovs") or is_unreported(one) or one.is_bmc
        reason = "" if is_others else no_file(one)
        if not is_others and not reason:
            chosen.append(one)
        elif reason and (one.ip or uses_dhcp(one)):
            left.append(left_out_interface(one, reason))
    primary = primary_network(host).lower()
    chosen.sort(key=lambda one: (one.subnet or "").lower() != primary)
    planned = _distinct(host, _planned(host, chosen, left), left)
    return HostNetwork(tuple(_with_routes(host, _with_gateway(host, planned, left), left)), tuple(left))


def left_out_interface(interface: Interface, reason: str) -> LeftOut:
    """The sentence on an interface that is not set up."""
    name = printable(interface.device or interface.mac or "")
    address = f" ({printable(interface.ip)})" if interface.ip else ""
    return LeftOut(
        interface.device or "", f"{name}{address} of host {interface.host} is not set up: {reason}"
    )


def no_file(interface: Interface) -> str:
    """Why no file is made for an interface; '' when one is."""
    if not interface.device:
        return f"it has no device: rocks set host interface iface {interface.host} {interface.mac} DEVICE"
    place = f"{interface.host} {printable(interface.device)}"
    elsewhere = (
        f"a node of the site can do it, and rocks set host interface options {place} options=noreport then "
        "states that"
    )
    if interface.is_vlan:
        return f"no file gives the device of a VLAN an address; {elsewhere}"
    if ":" in interface.device:
        return f"no file gives a device a second address; {elsewhere}"
    if not interface.mac and not is_bond(interface):
        return f"it has no MAC address: rocks set host interface mac {place} MAC"
    if interface.mac and len(interface.mac.split(":")) != 6:
        return f"its MAC address is that of an InfiniBand adapter; {elsewhere}"
    if reason := mac_fault(interface.mac or ""):
        return f"its MAC address {reason}: rocks set host interface mac {place} MAC"
    if interface.ip and not interface.netmask and not uses_dhcp(interface):
        return f"it is on no network: rocks set host interface subnet {place} NETWORK"
    return ""


def _planned(host: Host, chosen: Sequence[Interface], left: list[LeftOut]) -> list[_Planned]:
    """Each interface with its device; bonds come first, for without its bond no adapter is set up."""
    bonds = {one.device: one for one in host.interfaces if is_bond(one)}
    missing = {one.device for one in bonds.values() if not is_unreported(one) and no_file(one)}
    found: dict[int, _Planned] = {}
    for place, one in sorted(enumerate(chosen), key=lambda pair: not is_bond(pair[1])):
        try:
            if one.channel in missing:
                raise UserError(f"its bond {printable(str(one.channel))} is not")
            found[place] = one, _device(host, one, bonds)
        except UserError as error:
            left.append(left_out_interface(one, str(error)))
            missing |= {one.device} if is_bond(one) else set()
    return [found[place] for place in sorted(found)]


def unreachable_routes(host: Host, devices: Sequence[HostDevice]) -> list[Route]:
    """The routes of the host's own whose gateway is on the network of none of the devices."""
    reached = {route.gateway for one in devices for route in one.routes} | {one.gateway for one in devices}
    own = {one.address.partition("/")[0] for one in devices}
    return [
        one.route
        for one in host.routes
        if one.source == "H" and one.route.gateway and one.route.gateway not in reached | own
    ]


def _with_gateway(host: Host, planned: Sequence[_Planned], left: list[LeftOut]) -> list[_Planned]:
    """The device of the default route has its gateway; without a route that of the attribute is meant."""
    has_route = any(is_default(one.route) for one in host.routes)
    try:
        gateway = host_gateway(host)
    except UserError as error:
        left.append(LeftOut("", f"host {host.name} gets no gateway: {error}"))
        gateway = ""
    with_address = [place for place, (_, device) in enumerate(planned) if device.address]
    found = list(planned)
    for place in with_address if has_route else with_address[:1]:
        interface, device = found[place]
        if gateway and is_on(device.address, gateway):
            found[place] = interface, device._replace(gateway=gateway)
            break
    return found


def _with_routes(host: Host, planned: Sequence[_Planned], left: list[LeftOut]) -> list[HostDevice]:
    """The devices with the routes that lead through them; a route through none of them does not apply to the host."""
    routes: dict[str, list[DeviceRoute]] = {}
    for route, _ in host.routes:
        if is_default(route) and route.gateway:
            continue
        for interface, device in planned:
            is_on_subnet = bool(route.subnet) and (interface.subnet or "").lower() == route.subnet.lower()
            if device.address and (is_on_subnet or (route.gateway and is_on(device.address, route.gateway))):
                try:
                    found = DeviceRoute(route.destination, route.gateway)
                    routes.setdefault(device.name, []).append(found)
                except UserError as error:
                    left.append(
                        LeftOut("", f"a route is not valid: {error}; rocks list host route {host.name}")
                    )
                break
    return [device._replace(routes=tuple(routes.get(device.name, ()))) for _, device in planned]


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


def _distinct(host: Host, planned: Sequence[_Planned], left: list[LeftOut]) -> list[_Planned]:
    """The devices without those that have a name or a MAC address of one before."""
    found: list[_Planned] = []
    taken: dict[str, str] = {}
    for interface, device in planned:
        keys = {
            device.adapter: "name",
            device.name: "name",
            **({device.mac: "MAC address"} if device.mac else {}),
        }
        twice = next((key for key in keys if key in taken), None)
        if twice is None:
            found.append((interface, device))
            taken |= keys
        else:
            reason = f"another device has the {keys[twice]} {twice}: rocks list host interface {host.name}"
            left.append(left_out_interface(interface, reason))
    return found
