"""Packet filter programs on Ethernet: tags, MAC addresses, link-local control frames, types; pure."""

from __future__ import annotations

from rocks.network.host.packet_filter.bpf import (
    LOAD_HALF,
    LOAD_WORD,
    VLAN_TAG_PRESENT,
    Program,
)
from rocks.network.host.packet_filter.fields import ARP, IPV4, IPV6, TYPE, Sender, octets

_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
_PAUSE = 0x8808


def tagged(program: Program, sender: Sender) -> None:
    """Tags of 802.1Q, 802.1ad or its predecessors, in the frame or removed from it by the kernel."""
    program.load(LOAD_WORD, VLAN_TAG_PRESENT)
    program.match_unless(0)
    program.load(LOAD_HALF, TYPE)
    for tag in _TAGS:
        program.match_if(tag)


def other_mac(program: Program, sender: Sender) -> None:
    """Any source address except the sender's."""
    mac = octets(sender.mac)
    program.load(LOAD_WORD, 6)
    program.match_unless(int.from_bytes(mac[:4], "big"))
    program.load(LOAD_HALF, 10)
    program.match_unless(int.from_bytes(mac[4:], "big"))


def control(program: Program, sender: Sender) -> None:
    """Reserved addresses of IEEE 802.1D (spanning tree, LACP, 802.1X, LLDP, pause) and those of Cisco."""
    program.load(LOAD_HALF, TYPE)
    program.match_if(_PAUSE)
    program.load(LOAD_WORD, 0)
    program.jump(0x0180C200, None, "not reserved")
    program.load(LOAD_HALF, 4)
    program.mask(0xFFF0)
    program.match_if(0)
    program.label("not reserved")
    program.load(LOAD_WORD, 0)
    program.jump(0x01000CCC, None, "end")
    program.load(LOAD_HALF, 4)
    program.mask(0xFFFE)
    program.match_if(0xCCCC)
    program.label("end")


def other_type(program: Program, sender: Sender) -> None:
    """Any type except IPv4, ARP and IPv6."""
    program.load(LOAD_HALF, TYPE)
    for known in (IPV4, ARP, IPV6):
        program.jump(known, "end")
    program.match()
    program.label("end")
