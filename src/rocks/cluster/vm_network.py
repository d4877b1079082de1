"""Which device of its container each interface of a virtual machine is connected to. Pure. Source: spec §5.5."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.cluster.records import Interface

LONGEST_DEVICE_NAME = 15
"""Characters of a network device's name in Linux (IFNAMSIZ less the closing zero)."""

DEFAULT_MTU_BYTES = 1500


@dataclass(frozen=True)
class Tap:
    """A macvtap on the VLAN device `device`, made over `parent`."""

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
class Unconnected:
    """An interface for which the container has no device; `reason` says what is missing."""

    device: str
    reason: str


Connection = Tap | Bridged | Unconnected


def vlan_device(parent: str, vlan: int) -> str:
    """The name of a VLAN device; a name too long for the kernel becomes `v<id>-<8 hex digits of the parent>`."""
    name = f"{parent}.{vlan}"
    if len(name) <= LONGEST_DEVICE_NAME:
        return name
    return f"v{vlan}-{hashlib.sha256(parent.encode()).hexdigest()[:8]}"


def connect(interfaces: Iterable[Interface], container: Sequence[Interface]) -> list[Connection]:
    """The connection of each enabled interface with a MAC, taps first, else in the database's order.

    An interface on a VLAN that the container carries becomes a tap; one on a subnet of the container with the
    same VLAN id becomes a bridge's port; one whose device is linked into Open vSwitch by hand is skipped.
    """
    found = [
        connection
        for interface in interfaces
        if interface.mac and not interface.kvm_disabled
        for connection in (_tap(interface, container) or _bridged(interface, container),)
        if connection is not None
    ]
    return [c for c in found if isinstance(c, Tap)] + [c for c in found if not isinstance(c, Tap)]


def _tap(interface: Interface, container: Sequence[Interface]) -> Tap | None:
    if not interface.vlan or not interface.mac:
        return None
    for carried in container:
        if carried.is_vlan and carried.vlan == interface.vlan:
            for physical in container:
                if not physical.is_vlan and physical.device and _same_subnet(physical, carried):
                    prefix = "" if physical.has_option("novtap") else "p"
                    parent = prefix + physical.device
                    return Tap(
                        interface.mac,
                        vlan_device(parent, interface.vlan),
                        parent,
                        interface.vlan,
                        physical.mtu_bytes or DEFAULT_MTU_BYTES,
                    )
    return None


def _bridged(interface: Interface, container: Sequence[Interface]) -> Bridged | Unconnected | None:
    assert interface.mac
    for physical in container:
        if physical.is_vlan or not physical.device or not _same_subnet(interface, physical):
            continue
        if (physical.vlan or 0) == (interface.vlan or 0):
            if physical.module == "ovs-link":
                return None
            return Bridged(interface.mac, physical.device, physical.module == "ovs-bridge")
    return Unconnected(interface.device or interface.mac, _what_is_missing(interface))


def _what_is_missing(interface: Interface) -> str:
    if interface.vlan:
        return f"its host has no interface for VLAN {interface.vlan}"
    if interface.subnet:
        return f"its host has no interface for network {interface.subnet}"
    return "it is on no network and on no VLAN"


def _same_subnet(one: Interface, other: Interface) -> bool:
    return one.subnet is not None and one.subnet == other.subnet
