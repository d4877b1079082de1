"""Packet filters of virtual machines: the addresses under which each interface may send. Pure.

On the VLAN of its cluster a machine may use any address, and the filter blocks frames that could leave the cluster. On
a network that other machines share it may use its own addresses only. A virtual function has no device on the host
that could be filtered; the adapter checks the frames of its guest.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.network.guest_connections import Unconnected, VirtualFunction, VlanMacvtap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import Host, Interface, VirtualMachine
    from rocks.network.guest_connections import Connection

FILTER_ATTRIBUTE = "vm_filter"
IPV6_ATTRIBUTE = "vm_ipv6"
MAX_ADDRESSES = 8


@dataclass(frozen=True)
class PlannedSender:
    """An interface, and the addresses under which it may send on a network that it shares with other machines."""

    mac: str
    is_shared: bool
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilterPlan:
    """Whether the host filters the frames of a machine, and the interfaces that it can filter."""

    is_on: bool
    senders: tuple[PlannedSender, ...] = ()


def plan_filter(vm: VirtualMachine, connections: Sequence[Connection]) -> FilterPlan:
    """The plan for one machine. StateError for an attribute that is neither on nor off, or not a valid address."""
    ipv6 = _ipv6_addresses(vm.host)
    ipv4 = {interface.mac: _ipv4_addresses(interface) for interface in vm.host.interfaces}
    senders = tuple(
        PlannedSender(c.mac, False)
        if isinstance(c, VlanMacvtap)
        else PlannedSender(c.mac, True, ipv4.get(c.mac, ()), ipv6)
        for c in connections
        if not isinstance(c, VirtualFunction | Unconnected)
    )
    is_on = _is_on(vm.host) and (vm.container is None or _is_on(vm.container))
    return FilterPlan(is_on, senders)


def unfiltered_note(vm: VirtualMachine) -> str:
    """The note that each start of a machine with unfiltered frames prints."""
    owner = vm.container if vm.container is not None and not _is_on(vm.container) else vm.host
    return (
        f"{vm.name} runs without a packet filter ({FILTER_ATTRIBUTE}=off of {owner.name}): it can send under "
        "others' addresses and into other VLANs"
    )


def _is_on(host: Host) -> bool:
    value = host.attribute(FILTER_ATTRIBUTE)
    if value.lower() not in ("on", "off"):
        raise StateError(
            f'the attribute {FILTER_ATTRIBUTE} of {host.name} is "{printable(value)}"; it must be on or off'
        )
    return value.lower() == "on"


def _ipv4_addresses(interface: Interface) -> tuple[str, ...]:
    if not interface.ip:
        return ()
    try:
        return (str(ipaddress.IPv4Address(interface.ip)),)
    except ValueError:
        raise StateError(
            f'{interface.device} of {interface.host} has the invalid ip address "{printable(interface.ip)}"; '
            f"rocks set host interface ip {interface.host} {interface.device} ADDRESS"
        ) from None


def _ipv6_addresses(host: Host) -> tuple[str, ...]:
    try:
        return read_ipv6_addresses(host.attribute(IPV6_ATTRIBUTE))
    except UserError as error:
        raise StateError(f"the attribute {IPV6_ATTRIBUTE} of {host.name} has {error}") from None


def read_ipv6_addresses(text: str) -> tuple[str, ...]:
    """The addresses in the value of `vm_ipv6`, separated by commas or blanks; UserError unless valid."""
    texts = text.replace(",", " ").split()
    if len(texts) > MAX_ADDRESSES:
        raise UserError(f"{len(texts)} addresses; the maximum is {MAX_ADDRESSES}")
    return tuple(_ipv6_address(one) for one in texts)


def _ipv6_address(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        address = None
    if (
        address is None
        or address.scope_id
        or address.is_multicast
        or address.is_unspecified
        or address.is_loopback
    ):
        raise UserError(
            f'"{printable(text)}", which is not an IPv6 address of a machine; give addresses separated by commas, '
            "such as 2001:db8::9"
        )
    return str(address)
