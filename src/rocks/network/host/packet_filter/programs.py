"""The rules of an interface: frames that a virtual machine may not send, as packet filter programs; pure.

On every network: untagged frames under its own MAC address, and no link-local control frames. On a shared network also:
only IPv4, ARP and IPv6 under its own addresses, and no messages of DHCP servers or routers. Its IPv6 addresses are
the configured ones and the link-local address of its MAC address (RFC 4291, appendix A).
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

from rocks.network.host.packet_filter.bpf import Program
from rocks.network.host.packet_filter.ethernet import control, other_mac, other_type, tagged
from rocks.network.host.packet_filter.fields import MAX_FOREIGN, Sender, link_local
from rocks.network.host.packet_filter.ipv4 import dhcp_server, multicast_query, other_arp, other_ipv4
from rocks.network.host.packet_filter.ipv6 import neighbours_and_routers, other_ipv6

__all__ = ["MAX_FOREIGN", "Rule", "Sender", "link_local", "rules_for"]


class Rule(NamedTuple):
    """Frames that match the packed program are dropped; `reason` has no blanks."""

    reason: str
    program: bytes


def rules_for(sender: Sender) -> Tuple[Rule, ...]:
    """The rules of one interface, in evaluation order."""
    writers = _EVERYWHERE + (_SHARED if sender.is_shared else ())
    return tuple(Rule(reason, _written(writer, sender)) for reason, writer in writers)


def _written(writer: Callable[[Program, Sender], None], sender: Sender) -> bytes:
    program = Program()
    writer(program, sender)
    return program.pack()


_Writers = Tuple[Tuple[str, Callable[[Program, Sender], None]], ...]
_EVERYWHERE: _Writers = (("tagged", tagged), ("mac", other_mac), ("control", control))
_SHARED: _Writers = (
    ("type", other_type),
    ("arp", other_arp),
    ("ipv4", other_ipv4),
    ("dhcp", dhcp_server),
    ("ipv6", other_ipv6),
    ("neighbour", neighbours_and_routers),
    ("igmp", multicast_query),
)
