"""Connect each interface of a virtual machine to a device of its container; these devices as shell commands. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.requests import ISOLATION_SYSCTLS
from rocks.inventory.mac_pool import mac_fault
from rocks.network.network_rules import DEFAULT_MTU_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.fleet.wire.requests import LinkSpec
    from rocks.inventory.records import Interface


LONGEST_DEVICE_NAME = 15
"""Characters of a network device's name in Linux (IFNAMSIZ less the closing zero)."""


@dataclass(frozen=True)
class VlanMacvtap:
    """A macvtap on the VLAN device `device` over `parent`."""

    mac: str
    device: str
    parent: str
    vlan: int
    mtu_bytes: int


@dataclass(frozen=True)
class Bridged:
    """A port of the container's bridge `bridge`."""

    mac: str
    bridge: str
    is_open_vswitch: bool = False


@dataclass(frozen=True)
class VirtualFunction:
    """A virtual function (SR-IOV) of an adapter of the container, passed through to the guest.

    `device` is the interface of the adapter in the database, `parent` its network device on the container; `vlan` 0
    means no VLAN.
    """

    mac: str
    device: str
    parent: str
    vlan: int
    checks_source: bool = True
    is_trusted: bool = False


@dataclass(frozen=True)
class PhysicalMacvtap:
    """A macvtap on the container's own device `device`, which the site uses as well."""

    mac: str
    device: str


@dataclass(frozen=True)
class Unconnected:
    """An interface for which the container has no device; `reason` names the missing device."""

    device: str
    reason: str


Connection = VlanMacvtap | Bridged | PhysicalMacvtap | VirtualFunction | Unconnected

DIRECT_OPTION = "macvtap"
"""Option of a container's interface: guests get a macvtap on it instead of a port of a bridge."""

SRIOV_OPTION = "sriov"
"""Option of a virtual machine's interface that asks for a virtual function."""

TRUST_OPTION = "sriov-trust"
ANY_SOURCE_OPTION = "sriov-nospoofchk"
"""Further options: the adapter trusts the guest, or does not check its source addresses."""


_ADAPTER = re.compile(r"e(th|n)[^:.]*")
"""A network adapter as Linux names it; `eth0:1`, `eth0.7`, `bond0` or `vlan7` guests make themselves, without a MAC."""

_NO_MAC = "it has no MAC address; rocks set host interface mac gives it one"


def long_vlan_name(parent: str, vlan: int) -> str:
    """The name of a VLAN device without the kernel's limit on its length."""
    return f"{parent}.{vlan}"


def vlan_device(parent: str, vlan: int) -> str:
    """The name of a VLAN device; a name too long for the kernel becomes `v<id>-<8 hex digits of the parent>`."""
    name = long_vlan_name(parent, vlan)
    if len(name) <= LONGEST_DEVICE_NAME:
        return name
    return f"v{vlan}-{hashlib.sha256(parent.encode()).hexdigest()[:8]}"


def connect(interfaces: Iterable[Interface], container: Sequence[Interface]) -> list[Connection]:
    """The connection of each enabled interface, taps first, else in the order of the database.

    An adapter without a MAC is `Unconnected` if it is on a network or VLAN, and so is each with one that cannot be.

    An interface on a VLAN that the container carries becomes a tap. An interface on a subnet of the container with the
    same VLAN id becomes a port of a bridge, or a macvtap where the device has the option `macvtap`; it is skipped when
    the operator has linked the device into Open vSwitch. An interface with the option `sriov` gets a virtual function
    of the same device instead.
    """
    found = [
        connection
        for interface in interfaces
        if not interface.kvm_disabled
        for connection in (_connection(interface, container),)
        if connection is not None
    ]
    return [c for c in found if isinstance(c, VlanMacvtap)] + [
        c for c in found if not isinstance(c, VlanMacvtap)
    ]


def serving(interface: Interface, container: Sequence[Interface]) -> tuple[Interface, ...]:
    """The interfaces of the container that connect this one: its VLAN's entry and the device below it, or a device.

    Of several that could, the first ones in the database do, as for `connect`.
    """
    if interface.kvm_disabled or not interface.mac or mac_fault(interface.mac):
        return ()
    trunk = _trunk(interface, container)
    if trunk is not None:
        return trunk
    physical = _on_same_network(interface, container)
    return () if physical is None else (physical,)


def _connection(interface: Interface, container: Sequence[Interface]) -> Connection | None:
    if not interface.mac:
        device = interface.device or ""
        is_requested = (interface.vlan or interface.subnet) and _ADAPTER.fullmatch(device)
        return Unconnected(device, _NO_MAC) if is_requested else None
    if fault := mac_fault(interface.mac):
        reason = f"its MAC address {fault}; rocks set host interface mac gives it another"
        return Unconnected(interface.device or interface.mac, reason)
    trunk = _trunk(interface, container)
    carrier = None if trunk is None else trunk[1]
    if interface.has_option(SRIOV_OPTION):
        physical = carrier or _on_same_network(interface, container)
        return _missing(interface, container) if physical is None else _vf(interface, physical)
    if carrier is not None and interface.vlan:
        parent = _kernel_device(carrier)
        device = vlan_device(parent, interface.vlan)
        return VlanMacvtap(
            interface.mac, device, parent, interface.vlan, carrier.mtu_bytes or DEFAULT_MTU_BYTES
        )
    physical = _on_same_network(interface, container)
    if physical is None or not physical.device:
        return _missing(interface, container)
    if physical.module == "ovs-link":
        return None
    if physical.has_option(DIRECT_OPTION):
        return PhysicalMacvtap(interface.mac, physical.device)
    return Bridged(interface.mac, physical.device, physical.module == "ovs-bridge")


def _vf(interface: Interface, physical: Interface) -> VirtualFunction:
    assert interface.mac and physical.device
    return VirtualFunction(
        mac=interface.mac,
        device=physical.device,
        parent=_kernel_device(physical),
        vlan=interface.vlan or 0,
        checks_source=not interface.has_option(ANY_SOURCE_OPTION),
        is_trusted=interface.has_option(TRUST_OPTION),
    )


def _trunk(interface: Interface, container: Sequence[Interface]) -> tuple[Interface, Interface] | None:
    """The container's entry for the interface's VLAN, and the device through which it leaves the container."""
    for host_vlan in container:
        if interface.vlan and host_vlan.is_vlan and host_vlan.vlan == interface.vlan:
            for physical in container:
                if not physical.is_vlan and physical.device and _same_subnet(physical, host_vlan):
                    return host_vlan, physical
    return None


def _on_same_network(interface: Interface, container: Sequence[Interface]) -> Interface | None:
    """The device of the container on the network and VLAN of the interface."""
    for physical in container:
        if physical.is_vlan or not physical.device or not _same_subnet(interface, physical):
            continue
        if (physical.vlan or 0) == (interface.vlan or 0):
            return physical
    return None


def kernel_device(device: str, options: str | None) -> str:
    """The network device of an adapter: `p` and its name, which is that of its bridge.

    With `novtap` or `nobridge` among the options there is no bridge, and the device has the name alone.
    """
    given = (options or "").replace(",", " ").split()
    return device if "novtap" in given or "nobridge" in given else f"p{device}"


def _kernel_device(physical: Interface) -> str:
    return kernel_device(physical.device or "", physical.options)


def _missing(interface: Interface, container: Sequence[Interface]) -> Unconnected:
    return Unconnected(interface.device or interface.mac or "", _what_is_missing(interface, container))


def _what_is_missing(interface: Interface, container: Sequence[Interface]) -> str:
    if interface.vlan:
        found = next((i for i in container if i.is_vlan and i.vlan == interface.vlan), None)
        if found is None or found.subnet is None:
            host = container[0].host if container else "HOST"
            network, choice = _carrying_network(interface, container)
            give = (
                f"add host interface {host} vlan{interface.vlan} subnet={network} vlan={interface.vlan}"
                if found is None
                else f"set host interface subnet {host} {found.device} {network}"
            )
            return f"its host has no interface for VLAN {interface.vlan}: rocks {give}{choice}"
        return (
            f"its host has no device on network {found.subnet}, which carries VLAN {interface.vlan}: "
            f"rocks add host interface {found.host} IFACE subnet={found.subnet}"
        )
    if interface.subnet:
        return f"its host has no interface for network {interface.subnet}"
    return "it is on no network and on no VLAN"


def _carrying_network(interface: Interface, container: Sequence[Interface]) -> tuple[str, str]:
    """The network for a command that lets the VLAN out of the host; `NETWORK` and the choice, unless it is one.

    The public network carries only VLANs of interfaces that are on it themselves: those of clusters are private.
    """
    found = list(dict.fromkeys(i.subnet for i in container if i.subnet and i.device and not i.is_vlan))
    found = [one for one in found if one.lower() != "public" or one == interface.subnet]
    if len(found) == 1:
        return found[0], ""
    return (
        "NETWORK",
        f", where NETWORK is {' or '.join(found)}"
        if found
        else ", where NETWORK is that of a device of the host, and not public",
    )


def _same_subnet(one: Interface, other: Interface) -> bool:
    return one.subnet is not None and one.subnet == other.subnet


def vlan_lines(links: Iterable[LinkSpec]) -> list[str]:
    """A line for each device, which makes the device when absent; a shortened name is followed by the long name."""
    return [_line(link) for link in links]


def _line(link: LinkSpec) -> str:
    import shlex  # late: a start has its host make the devices

    device = shlex.quote(link.device)
    if link.parent is None:
        make = f"ip link add {device} type bridge"
    else:
        make = f"ip link add link {shlex.quote(link.parent)} name {device} type vlan id {link.vlan}"
    silence = "; ".join(
        f"echo {value} >/proc/sys/net/{family}/conf/{device}/{switch}"
        for family, switch, value in ISOLATION_SYSCTLS
    )
    mtu = f" mtu {link.mtu}" if link.mtu is not None else ""
    line = (
        f"[ -e /sys/class/net/{device} ] || {{ {make} && {silence}; "
        f"ip link set {device}{mtu} arp off alias rocks:{link.vlan} up; }}"
    )
    long = long_vlan_name(link.parent, link.vlan) if link.parent is not None else link.device
    return line if long == link.device else f"{line}  # {long}"
