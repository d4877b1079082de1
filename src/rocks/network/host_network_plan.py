"""The network devices that a host is to have: names by MAC address, bridges, addresses, options, gateway. Pure."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.mac_pool import mac_fault
from rocks.network.guest_connections import LONGEST_DEVICE_NAME, kernel_device
from rocks.network.network_rules import (
    DEFAULT_MTU_BYTES,
    MTU_HIGHEST_BYTES,
    MTU_LOWEST_BYTES,
    attribute_address,
)
from rocks.network.route_rules import ANYWHERE, ResolvedRoute, Route, device_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.inventory.records import Host, Interface


# Options of an interface of a physical host that say how its device is set up.

BONDING = "bonding"
"""The module of a bond, whose channel its members name."""

_VALUE = re.compile(r"[A-Za-z0-9_.,:+/-]+", re.ASCII)
BOND_OPTIONS = frozenset(
    (
        *("mode", "miimon", "updelay", "downdelay", "lacp_rate", "xmit_hash_policy", "primary", "primary_reselect"),
        *("arp_interval", "arp_ip_target", "arp_validate", "ad_select", "fail_over_mac", "min_links"),
        *("num_grat_arp", "resend_igmp", "packets_per_slave", "all_slaves_active"),
    )
)  # fmt: skip
"""Options of the kernel's bonding driver (Documentation/networking/bonding.rst) that all renderings know."""

BOND_MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"),
)
"""The driver's modes, by their number."""


class BondOption(NamedTuple):
    """An option of the bonding driver, by the driver's name."""

    name: str
    value: str


def is_bond(interface: Interface) -> bool:
    """Whether the interface is a bond of other devices."""
    return (interface.module or "").lower() == BONDING and bool(interface.device)


def boot_mac(interface: Interface, interfaces: Iterable[Interface]) -> str | None:
    """The MAC address with which a host boots on one of its interfaces; of a bond that of its first adapter."""
    if interface.mac or not is_bond(interface):
        return interface.mac
    return next((one.mac for one in interfaces if one.mac and one.channel == interface.device), None)


def is_unreported(interface: Interface) -> bool:
    """Whether the device is set up by other means: an option that begins with `noreport`."""
    return _has_option_like(interface, "noreport")


def uses_dhcp(interface: Interface) -> bool:
    """Whether the device gets its address by DHCP: an option that begins with `dhcp`."""
    return _has_option_like(interface, "dhcp")


def is_unbridged(interface: Interface) -> bool:
    """Whether the device has no bridge on a host of virtual machines: the option `novtap` or `nobridge`."""
    return interface.has_option("novtap") or interface.has_option("nobridge")


def bond_options(interface: Interface) -> tuple[BondOption, ...]:
    """The options of a bond, with a number of a mode as its name. UserError, with a command, for an unknown one."""
    found = []
    for text in (interface.options or "").split():
        name, equals, value = text.partition("=")
        if not equals and (name in ("novtap", "nobridge") or name.startswith("dhcp")):
            continue
        if name not in BOND_OPTIONS or not _VALUE.fullmatch(value):
            raise UserError(
                f'the bond {interface.device} of host {interface.host} has the option "{printable(text)}", which is '
                f"not valid: rocks set host interface options {interface.host} {interface.device} "
                'options="mode=active-backup miimon=100"'
            )
        if name == "mode":
            value = _mode(interface, value)
        found.append(BondOption(name, value))
    return tuple(found)


def _mode(interface: Interface, text: str) -> str:
    if text.isascii() and text.isdigit() and int(text) < len(BOND_MODES):
        return BOND_MODES[int(text)]
    if text not in BOND_MODES:
        raise UserError(
            f"the bond {interface.device} of host {interface.host} has the mode {text}, which is none of "
            f"{', '.join(BOND_MODES)}: rocks set host interface options {interface.host} {interface.device}"
        )
    return text


def _has_option_like(interface: Interface, beginning: str) -> bool:
    return any(one.startswith(beginning) for one in (interface.options or "").replace(",", " ").split())


# A device of a VM container is a bridge of that name, whose port is the adapter `p` and the name: there VLANs of
# clusters are made, and the host's guests are attached to the bridge. With the option `novtap` or `nobridge` the
# adapter itself has the name. An adapter may also be a bond, whose members have no address.

_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)


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
    """A part of a network that is not set up: its device, '' for a route or gateway, and a sentence with a command."""

    device: str
    text: str


class HostNetwork(NamedTuple):
    """The devices of a host, that on the primary network first, and what is left out because of its record."""

    devices: tuple[HostDevice, ...]
    left_out: tuple[LeftOut, ...]


def plan_network(host: Host) -> HostNetwork:
    """The devices of a host that have a MAC address, and its bonds, each with the routes that lead through it.

    Devices of Open vSwitch, BMCs, and those with the option `noreport`, are set up by others. An interface that has an
    address and gets no file, and an invalid record, is left out alone.
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
        "a node of the site can do it: then state that by rocks set host interface options "
        f"{place} options=noreport"
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
                raise UserError(f"its bond {printable(str(one.channel))} is not set up")
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
    if not MTU_LOWEST_BYTES <= mtu_bytes <= MTU_HIGHEST_BYTES:
        network = printable(str(interface.subnet))
        raise UserError(
            f"the network {network} has the MTU {mtu_bytes}, not one from {MTU_LOWEST_BYTES} to {MTU_HIGHEST_BYTES}: "
            f"rocks set network mtu {network} {DEFAULT_MTU_BYTES}"
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
            f"interface iface {host.name} {interface.mac or 'MAC'} DEVICE"
        )


def _adapter(host: Host, interface: Interface) -> str:
    """The name of the device below the bridge, or of the device that has none."""
    name = str(interface.device)
    return kernel_device(name, interface.options) if host.is_true("kvm") else name


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


# The gateway and the default route of a host: for its installation, its profile and its own files.

GATEWAY_ATTRIBUTE = "Kickstart_PrivateGateway"

# each is asked for once for each route
_interface = lru_cache(ipaddress.IPv4Interface)
_gateway_address = lru_cache(ipaddress.IPv4Address)


def host_gateway(host: Host) -> str:
    """The gateway of the host's default route, else of the attribute, or ''. UserError for an invalid attribute."""
    if any(is_default(one.route) for one in host.routes):
        return default_gateway(host.routes)
    return attribute_address(GATEWAY_ATTRIBUTE, host.attribute(GATEWAY_ATTRIBUTE).strip())


def default_route(host: Host) -> tuple[str, str]:
    """(gateway, device) of a host's default route, each '' when there is none; no host is its own gateway.

    The device is that on the primary network, or that of a route through a network.
    """
    route = next((one.route for one in host.routes if is_default(one.route)), None)
    if route is not None and not route.gateway:
        return "", device_on(host.interfaces, route.subnet)
    gateway = host_gateway(host)
    if gateway in (one.ip for one in host.interfaces):
        gateway = ""
    return gateway, device_on(host.interfaces, primary_network(host))


def primary_network(host: Host) -> str:
    """The network that names the host: the attribute `primary_net`, or private."""
    return host.attribute("primary_net")


def is_default(route: Route) -> bool:
    """Whether it is the default route."""
    return (route.network, route.netmask) == (ANYWHERE, ANYWHERE)


def is_on(address: str, gateway: str) -> bool:
    """Whether the gateway is another host on the network of a device with that address."""
    own = _interface(address)
    try:
        other = _gateway_address(gateway)
    except ValueError:
        return False
    return other in own.network and other != own.ip


def default_gateway(routes: Iterable[ResolvedRoute]) -> str:
    """The gateway of the default route; '' when there is none, or none by a gateway."""
    return next((one.route.gateway for one in routes if is_default(one.route)), "")
