"""Packet filter programs on IPv6: addresses, messages of neighbours, routers and DHCPv6 servers; pure.

Extension headers that can hide such messages are dropped (RFC 7113).
"""

from __future__ import annotations

import ipaddress

from rocks.network.host.packet_filter.bpf import (
    JUMP_GREATER_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_LENGTH,
    LOAD_WORD,
    Program,
)
from rocks.network.host.packet_filter.fields import (
    IP,
    IPV6,
    IPV6_END,
    UDP,
    Sender,
    link_local,
    only_of_type,
)

_TCP, _GRE, _ESP, _ICMPV6, _SCTP = 6, 47, 50, 58, 132
_HOP_BY_HOP, _FRAGMENT = 0, 44
_SOLICITATION, _ADVERTISEMENT = 135, 136
_UNWANTED_ICMPV6 = (130, 134, 137)
"""Multicast listener query, router advertisement, redirect: only routers send them."""
_LISTENER_REPORTS = (131, 132, 143)

_BEHIND_IPV6 = IP + 40


def other_ipv6(program: Program, sender: Sender) -> None:
    """Any source except the sender's addresses; `::` only for duplicate address detection and listener reports."""
    only_of_type(program, IPV6, IPV6_END)
    _jump_to_end_if_own_ipv6(program, sender, 22)
    for offset in (22, 26, 30, 34):
        program.load(LOAD_WORD, offset)
        program.match_unless(0)
    program.load(LOAD_BYTE, 20)
    program.jump(_HOP_BY_HOP, "end")  # the next rule checks what follows it
    program.match_unless(_ICMPV6)
    program.load(LOAD_BYTE, _BEHIND_IPV6)
    for kind in (_SOLICITATION, *_LISTENER_REPORTS):
        program.jump(kind, "end")
    program.match()
    program.label("end")


def neighbours_and_routers(program: Program, sender: Sender) -> None:
    """Messages of routers, DHCPv6 servers and other neighbours, and headers that could hide them."""
    only_of_type(program, IPV6, IPV6_END)
    program.load(LOAD_BYTE, 20)
    for harmless in (_TCP, _GRE, _ESP, _SCTP):
        program.jump(harmless, "end")
    program.jump(UDP, "udp")
    program.jump(_ICMPV6, "icmpv6")
    program.jump(_FRAGMENT, "fragment")
    program.match_unless(_HOP_BY_HOP)
    _match_options(program)
    program.label("udp")
    _match_dhcpv6_server(program, _BEHIND_IPV6)
    program.no_match()
    program.label("fragment")
    _match_fragment(program)
    program.label("icmpv6")
    _match_icmpv6(program, sender)
    program.label("end")


def _match_options(program: Program) -> None:
    """Hop-by-hop options, except a router alert of eight bytes before a listener report (RFC 2710, RFC 3810)."""
    program.load(LOAD_LENGTH)
    program.match_unless(_BEHIND_IPV6 + 9, JUMP_GREATER_EQUAL)
    program.load(LOAD_HALF, _BEHIND_IPV6)
    program.match_unless(_ICMPV6 << 8)
    program.load(LOAD_BYTE, _BEHIND_IPV6 + 8)
    for kind in _LISTENER_REPORTS:
        program.jump(kind, "end")
    program.match()


def _match_fragment(program: Program) -> None:
    """Fragments except of harmless protocols, and first fragments of DHCPv6 servers."""
    program.load(LOAD_BYTE, _BEHIND_IPV6)
    for harmless in (_TCP, _ESP, _SCTP):
        program.jump(harmless, "end")
    program.match_unless(UDP)
    program.load(LOAD_HALF, _BEHIND_IPV6 + 2)
    program.mask(0xFFF8)
    program.jump(0, None, "end")
    _match_dhcpv6_server(program, _BEHIND_IPV6 + 8)
    program.no_match()


def _match_icmpv6(program: Program, sender: Sender) -> None:
    """Router messages; neighbour messages about other addresses, except solicitations with a source address."""
    program.load(LOAD_LENGTH)
    program.match_unless(_BEHIND_IPV6 + 4, JUMP_GREATER_EQUAL)
    program.load(LOAD_BYTE, _BEHIND_IPV6)
    for kind in _UNWANTED_ICMPV6:
        program.match_if(kind)
    program.jump(_ADVERTISEMENT, "about an address")
    program.jump(_SOLICITATION, None, "end")
    program.load(LOAD_WORD, 22)
    program.jump(0, None, "end")  # addresses of guests do not start with zeros
    program.label("about an address")
    program.load(LOAD_LENGTH)
    program.match_unless(_BEHIND_IPV6 + 24, JUMP_GREATER_EQUAL)
    _jump_to_end_if_own_ipv6(program, sender, _BEHIND_IPV6 + 8)
    program.match()


def _match_dhcpv6_server(program: Program, offset: int) -> None:
    program.load(LOAD_LENGTH)
    program.match_unless(offset + 4, JUMP_GREATER_EQUAL)
    program.load(LOAD_HALF, offset)
    program.match_if(547)
    program.load(LOAD_HALF, offset + 2)
    program.match_if(546)


def _jump_to_end_if_own_ipv6(program: Program, sender: Sender, offset: int) -> None:
    for address in (link_local(sender.mac), *sender.ipv6):
        packed = ipaddress.IPv6Address(address).packed
        next_address = program.new_label()
        for part in (12, 8, 4):
            program.load(LOAD_WORD, offset + part)
            program.jump(int.from_bytes(packed[part : part + 4], "big"), None, next_address)
        program.load(LOAD_WORD, offset)
        program.jump(int.from_bytes(packed[:4], "big"), "end")
        program.label(next_address)
