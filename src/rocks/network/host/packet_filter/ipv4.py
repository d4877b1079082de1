"""Packet filter programs on ARP, IPv4, DHCP and IGMP; pure."""

from __future__ import annotations

import ipaddress

from rocks.network.host.packet_filter.bpf import (
    JUMP_GREATER_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_HALF_INDIRECT,
    LOAD_LENGTH,
    LOAD_WORD,
    LOAD_X_HEADER_LENGTH,
    Program,
)
from rocks.network.host.packet_filter.fields import (
    ARP,
    ARP_END,
    IP,
    IPV4,
    IPV4_END,
    UDP,
    Sender,
    octets,
    only_of_type,
)

_IGMP, _QUERY = 2, 0x11


def other_arp(program: Program, sender: Sender) -> None:
    """Sender addresses of others; probes (RFC 5227, sender 0.0.0.0) for addresses of others."""
    only_of_type(program, ARP, ARP_END)
    program.load(LOAD_WORD, IP)
    program.match_unless(0x00010800)
    program.load(LOAD_HALF, IP + 4)
    program.match_unless(0x0604)
    mac = octets(sender.mac)
    program.load(LOAD_WORD, 22)
    program.match_unless(int.from_bytes(mac[:4], "big"))
    program.load(LOAD_HALF, 26)
    program.match_unless(int.from_bytes(mac[4:], "big"))
    program.load(LOAD_WORD, 28)
    program.jump(0, None, "not a probe")
    program.load(LOAD_WORD, 38)
    program.label("not a probe")
    _match_other_ipv4(program, sender)
    program.label("end")


def other_ipv4(program: Program, sender: Sender) -> None:
    """Any source except the sender's addresses; 0.0.0.0 is allowed for DHCP requests only."""
    only_of_type(program, IPV4, IPV4_END)
    program.load(LOAD_WORD, 26)
    program.jump(0, None, "has sender")
    program.load(LOAD_BYTE, 23)
    program.match_unless(UDP)
    program.load(LOAD_HALF, 20)
    program.mask(0x3FFF)
    program.match_unless(0)
    program.load(LOAD_LENGTH)
    program.match_unless(IPV4_END + 8, JUMP_GREATER_EQUAL)
    program.load(LOAD_X_HEADER_LENGTH, IP)
    program.load(LOAD_HALF_INDIRECT, IP)
    program.match_unless(68)
    program.load(LOAD_HALF_INDIRECT, IP + 2)
    program.match_unless(67)
    program.no_match()
    program.label("has sender")
    _match_other_ipv4(program, sender)
    program.label("end")


def dhcp_server(program: Program, sender: Sender) -> None:
    """UDP from the DHCP server port or to the client port; later fragments have no ports."""
    only_of_type(program, IPV4, IPV4_END)
    program.load(LOAD_BYTE, 23)
    program.jump(UDP, None, "end")
    program.load(LOAD_HALF, 20)
    program.mask(0x1FFF)
    program.jump(0, None, "end")
    program.load(LOAD_X_HEADER_LENGTH, IP)
    program.load(LOAD_HALF_INDIRECT, IP)
    program.match_if(67)
    program.load(LOAD_HALF_INDIRECT, IP + 2)
    program.match_if(68)
    program.label("end")


def multicast_query(program: Program, sender: Sender) -> None:
    """IGMP queries, which only routers send, and fragments of IGMP, which could hide them."""
    only_of_type(program, IPV4, IPV4_END)
    program.load(LOAD_BYTE, 23)
    program.jump(_IGMP, None, "end")
    program.load(LOAD_HALF, 20)
    program.mask(0x3FFF)
    program.match_unless(0)
    program.load(LOAD_X_HEADER_LENGTH, IP)
    program.load(LOAD_HALF_INDIRECT, IP - 1)  # the last byte of the header, and the type
    program.mask(0x00FF)
    program.match_if(_QUERY)
    program.label("end")


def _match_other_ipv4(program: Program, sender: Sender) -> None:
    """Jump to `end` for the sender's addresses and match others; with none known, match foreign addresses."""
    for address in sender.ipv4:
        program.jump(int(ipaddress.IPv4Address(address)), "end")
    if sender.ipv4:
        program.match()
    for address in sender.foreign if not sender.ipv4 else ():
        program.match_if(int(ipaddress.IPv4Address(address)))
