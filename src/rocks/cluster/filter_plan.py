"""What each interface of a virtual machine may send: from records alone. Pure.

On the VLAN of its cluster a machine is among its own, and only what could leave the cluster is kept in. A network that
others share lets it have its own addresses and no more. A virtual function has no device on the host that could be
filtered: what its guest sends is checked by the adapter.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.names import printable
from rocks.cluster.vm_network import Function, Tap, Unconnected
from rocks.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.cluster.records import Host, Interface, VirtualMachine
    from rocks.cluster.vm_network import Connection

FILTER_ATTRIBUTE = "vm_filter"
IPV6_ATTRIBUTE = "vm_ipv6"
MOST_ADDRESSES = 8


@dataclass(frozen=True)
class Sender:
    """An interface: under which addresses it may send on a network that it shares with others."""

    mac: str
    is_shared: bool
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilterPlan:
    """Whether the host filters what a machine sends, and what each interface that it can filter may."""

    is_on: bool
    senders: tuple[Sender, ...] = ()

    @property
    def lets_all_through(self) -> bool:
        """Whether nobody looks at what some interface sends."""
        return bool(self.senders) and not self.is_on


def plan_filter(vm: VirtualMachine, connections: Sequence[Connection]) -> FilterPlan:
    """The plan for one machine. StateError for an attribute that says neither on nor off, or no address."""
    ipv6 = _ipv6_addresses(vm.host)
    ipv4 = {interface.mac: _ipv4_addresses(interface) for interface in vm.host.interfaces}
    senders = tuple(
        Sender(c.mac, False) if isinstance(c, Tap) else Sender(c.mac, True, ipv4.get(c.mac, ()), ipv6)
        for c in connections
        if not isinstance(c, Function | Unconnected)
    )
    is_on = _is_on(vm.host) and (vm.container is None or _is_on(vm.container))
    return FilterPlan(is_on, senders)


def unfiltered_note(vm: VirtualMachine) -> str:
    """What is to be said at each start of a machine whose frames nobody looks at."""
    owner = vm.container if vm.container is not None and not _is_on(vm.container) else vm.host
    return (
        f"{vm.name} runs without a packet filter ({FILTER_ATTRIBUTE}=off of {owner.name}): it can send under "
        "others' addresses and into other VLANs"
    )


def _is_on(host: Host) -> bool:
    word = host.attribute(FILTER_ATTRIBUTE, "on")
    if word.lower() not in ("on", "off"):
        raise StateError(
            f'the attribute {FILTER_ATTRIBUTE} of {host.name} is "{printable(word)}"; it must be on or off'
        )
    return word.lower() == "on"


def _ipv4_addresses(interface: Interface) -> tuple[str, ...]:
    if not interface.ip:
        return ()
    try:
        return (str(ipaddress.IPv4Address(interface.ip)),)
    except ValueError:
        raise StateError(
            f'{interface.device} of {interface.host} has the ip address "{printable(interface.ip)}", which is none; '
            f"rocks set host interface ip {interface.host} {interface.device} ADDRESS"
        ) from None


def _ipv6_addresses(host: Host) -> tuple[str, ...]:
    words = host.attribute(IPV6_ATTRIBUTE).replace(",", " ").split()
    if len(words) > MOST_ADDRESSES:
        raise StateError(
            f"the attribute {IPV6_ATTRIBUTE} of {host.name} has {len(words)} addresses, "
            f"and {MOST_ADDRESSES} are the most"
        )
    return tuple(_ipv6_address(host, word) for word in words)


def _ipv6_address(host: Host, word: str) -> str:
    try:
        address = ipaddress.IPv6Address(word)
    except ValueError:
        address = None
    if (
        address is None
        or address.scope_id
        or address.is_multicast
        or address.is_unspecified
        or address.is_loopback
    ):
        raise StateError(
            f'the attribute {IPV6_ATTRIBUTE} of {host.name} has "{printable(word)}", which is no IPv6 address that a '
            "machine can have; addresses by commas are needed, as in 2001:db8::9"
        )
    return str(address)
