"""The sender, and the offsets of the fields that packet filter programs read; pure."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Tuple

from rocks.network.host.packet_filter.bpf import (
    JUMP_GREATER_EQUAL,
    LOAD_HALF,
    LOAD_LENGTH,
    Program,
)

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
"""Types of frames."""

UDP = 17

TYPE, IP = 12, 14
"""Offsets of the type and of the packet in an untagged frame."""

ARP_END, IPV4_END, IPV6_END = 42, 34, 54
"""Minimum lengths; a program matches (drops) shorter frames."""

MAX_FOREIGN = 116
"""The most foreign addresses of a sender: the jump over the checks of more is too far."""


class Sender(NamedTuple):
    """The sender: its MAC address and, on a shared network, its IP addresses.

    Without known IPv4 addresses it may use any except those of `foreign`.
    """

    mac: str
    is_shared: bool = False
    ipv4: Tuple[str, ...] = ()
    ipv6: Tuple[str, ...] = ()
    foreign: Tuple[str, ...] = ()


def link_local(mac: str) -> str:
    """The link-local IPv6 address of this MAC address (modified EUI-64)."""
    own = octets(mac)
    number = bytes([own[0] ^ 2]) + own[1:3] + b"\xff\xfe" + own[3:]
    return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + number))


def octets(mac: str) -> bytes:
    """A MAC address as six bytes."""
    return bytes(int(octet, 16) for octet in mac.split(":"))


def only_of_type(program: Program, ethernet_type: int, least_bytes: int) -> None:
    """Jump to the label `end` for other types; match frames shorter than `least_bytes`."""
    program.load(LOAD_HALF, TYPE)
    program.jump(ethernet_type, None, "end")
    program.load(LOAD_LENGTH)
    program.match_unless(least_bytes, JUMP_GREATER_EQUAL)
