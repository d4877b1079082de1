"""Packet filter programs on frames as such: tags, MAC addresses, switches' own talk, types; pure."""

from __future__ import annotations

from rocks.devices.network.packet_filter.bpf import (
    JUMP_EQUAL,
    LOAD_HALF,
    LOAD_WORD,
    VLAN_TAG_PRESENT,
    Program,
)
from rocks.devices.network.packet_filter.fields import ARP, IPV4, IPV6, TYPE, Sender, octets

_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
_PAUSE = 0x8808


def tagged(program: Program, sender: Sender) -> None:
    """A tag of 802.1Q, 802.1ad or what came before it, in the frame or taken out of it by the kernel."""
    program.load(LOAD_WORD, VLAN_TAG_PRESENT)
    program.match_unless(0)
    program.load(LOAD_HALF, TYPE)
    for tag in _TAGS:
        program.match_if(tag)


def other_mac(program: Program, sender: Sender) -> None:
    """Any source address but the sender's."""
    mac = octets(sender.mac)
    program.load(LOAD_WORD, 6)
    program.match_unless(int.from_bytes(mac[:4], "big"))
    program.load(LOAD_HALF, 10)
    program.match_unless(int.from_bytes(mac[4:], "big"))


def control(program: Program, sender: Sender) -> None:
    """IEEE 802.1D's reserved addresses, which carry spanning tree, LACP, 802.1X, LLDP and pause; Cisco's twins."""
    program.load(LOAD_HALF, TYPE)
    program.match_if(_PAUSE)
    program.load(LOAD_WORD, 0)
    program.jump(JUMP_EQUAL, 0x0180C200, None, "not reserved")
    program.load(LOAD_HALF, 4)
    program.keep_bits(0xFFF0)
    program.match_if(0)
    program.label("not reserved")
    program.load(LOAD_WORD, 0)
    program.jump(JUMP_EQUAL, 0x01000CCC, None, "end")
    program.load(LOAD_HALF, 4)
    program.keep_bits(0xFFFE)
    program.match_if(0xCCCC)
    program.label("end")


def other_type(program: Program, sender: Sender) -> None:
    """Anything but IPv4, ARP and IPv6."""
    program.load(LOAD_HALF, TYPE)
    for known in (IPV4, ARP, IPV6):
        program.jump(JUMP_EQUAL, known, "end")
    program.match()
    program.label("end")
