"""Ethernet frames that a guest may send, and many that it may not; pure."""

import ipaddress
import struct
from typing import NamedTuple

MAC, OTHER_MAC, BROADCAST = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"
IP, OTHER_IP, HOST_IP = "203.0.113.9", "203.0.113.10", "203.0.113.2"
IPV6, OTHER_IPV6 = "2001:db8::9", "2001:db8::a"
LINK_LOCAL, OTHER_LINK_LOCAL = "fe80::ff:fe00:1", "fe80::ff:fe00:2"
ALL_NODES = "ff02::1"
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_UDP, _TCP, _IGMP, _ICMP, _ICMPV6 = 17, 6, 2, 1, 58


class Case(NamedTuple):
    """A frame, and the reason for which it is dropped on either side; None lets it through."""

    name: str
    frame: bytes
    on_own_side: str | None
    on_shared_side: str | None


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(kind: int, payload: bytes, source: str = MAC, target: str = BROADCAST) -> bytes:
    """A frame, padded to the least length."""
    return (octets(target) + octets(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def tagged(frame: bytes, vlan: int, kind: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack("!HH", kind, vlan) + frame[12:]


def arp(
    sender_ip: str, target_ip: str, operation: int = 1, sender_mac: str = MAC, source: str = MAC
) -> bytes:
    """A request, or an answer."""
    addresses = octets(sender_mac) + _packed(sender_ip) + bytes(6) + _packed(target_ip)
    return ethernet(_ARP, struct.pack("!HHBBH", 1, _IPV4, 6, 4, operation) + addresses, source)


def rarp(mac: str) -> bytes:
    """QEMU's announcement of a guest: a reverse request for its own address (RFC 903)."""
    addresses = octets(mac) + bytes(4) + octets(mac) + bytes(4)
    return ethernet(0x8035, struct.pack("!HHBBH", 1, _IPV4, 6, 4, 3) + addresses)


def ipv4(
    sender: str,
    payload: bytes,
    protocol: int = _UDP,
    fragment: int = 0,
    source: str = MAC,
    target: str = BROADCAST,
) -> bytes:
    """A packet to everybody."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0)
    packet = header + _packed(sender) + _packed("255.255.255.255")
    checksum = _checksum(packet)
    return ethernet(_IPV4, packet[:10] + struct.pack("!H", checksum) + packet[12:] + payload, source, target)


def udp(source_port: int, target_port: int, data: bytes = b"") -> bytes:
    """A datagram without a checksum."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


def ipv6(sender: str, payload: bytes, next_header: int = _ICMPV6, target: str = ALL_NODES) -> bytes:
    """A packet to all nodes."""
    header = struct.pack("!IHBB", 0x60000000, len(payload), next_header, 255)
    return ethernet(_IPV6, header + _packed(sender) + _packed(target) + payload, target="33:33:00:00:00:01")


def icmpv6(kind: int, about: str = "::") -> bytes:
    """A message; neighbours' messages are about an address."""
    return struct.pack("!BBHI", kind, 0, 0, 0) + _packed(about)


def igmp(kind: int) -> bytes:
    """A message about no group, or about all."""
    return struct.pack("!BBH4x", kind, 0, 0)


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _checksum(header: bytes) -> int:
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - ((total & 0xFFFF) + (total >> 16))


_PLAIN = ipv4(IP, udp(1000, 2000))
_REPORT = bytes((_ICMPV6, 0, 5, 2, 0, 0, 1, 0)) + icmpv6(143)
_HIDDEN = bytes((_ICMPV6, 0, 1, 4, 0, 0, 0, 0)) + icmpv6(134)


def _alerted(frame: bytes) -> bytes:
    """The frame with the option that routers read its packet (RFC 2113), as IGMP has it."""
    return frame[:14] + b"\x46" + frame[15:34] + b"\x94\x04\0\0" + frame[34:]


def _first_fragment(kind: int) -> bytes:
    return bytes((kind, 0, 0, 1, 0, 0, 0, 7))


CASES = (
    Case("IPv4 of its own", _PLAIN, None, None),
    Case("TCP of its own", ipv4(IP, bytes(20), _TCP), None, None),
    Case("ARP of its own", arp(IP, OTHER_IP), None, None),
    Case("ARP probe for its own address", arp("0.0.0.0", IP), None, None),
    Case("DHCP request", ipv4("0.0.0.0", udp(68, 67, bytes(240))), None, None),
    Case("neighbour solicitation", ipv6(LINK_LOCAL, icmpv6(135, OTHER_IPV6)), None, None),
    Case("neighbour advertisement of its own", ipv6(IPV6, icmpv6(136, IPV6)), None, None),
    Case("is its own IPv6 address free", ipv6("::", icmpv6(135, LINK_LOCAL)), None, None),
    Case("router solicitation", ipv6(LINK_LOCAL, icmpv6(133)), None, None),
    Case("multicast report", ipv6(LINK_LOCAL, _REPORT, 0), None, None),
    Case("multicast report before it has an address", ipv6("::", _REPORT, 0), None, None),
    Case("DHCPv6 request", ipv6(LINK_LOCAL, udp(546, 547), _UDP), None, None),
    Case("IPv6 datagram of its own", ipv6(IPV6, udp(1000, 2000), _UDP), None, None),
    Case("IGMP report", ipv4(IP, igmp(0x16), _IGMP), None, None),
    Case("announcement after a move", rarp(MAC), None, None),
    Case("echo request", ipv4(IP, bytes((8, 0, 0, 0, 0, 0, 0, 0)), _ICMP), None, None),
    Case("IGMP report with a router alert", _alerted(ipv4(IP, igmp(0x22), _IGMP)), None, None),
    Case("UDP that begins as a query", ipv4(IP, udp(0x1100, 2000)), None, None),
    Case("later fragment of a datagram", ipv4(IP, bytes(16), _UDP, fragment=100), None, None),
    Case("forged MAC", ipv4(IP, udp(1, 2), source=OTHER_MAC), "mac", "mac"),
    Case("forged MAC, last octets", ipv4(IP, udp(1, 2), source="02:00:00:00:01:01"), "mac", "mac"),
    Case("group address as MAC", ipv4(IP, udp(1, 2), source="03:00:00:00:00:01"), "mac", "mac"),
    Case("802.1Q tag", tagged(_PLAIN, 200), "tagged", "tagged"),
    Case("802.1Q tag of no VLAN", tagged(_PLAIN, 0), "tagged", "tagged"),
    Case("802.1ad tag", tagged(_PLAIN, 200, 0x88A8), "tagged", "tagged"),
    Case("two tags", tagged(tagged(_PLAIN, 200), 100), "tagged", "tagged"),
    Case("spanning tree", ethernet(38, bytes(38), target="01:80:c2:00:00:00"), "control", "control"),
    Case("LACP", ethernet(0x8809, bytes(40), target="01:80:c2:00:00:02"), "control", "control"),
    Case("LLDP", ethernet(0x88CC, bytes(40), target="01:80:c2:00:00:0e"), "control", "control"),
    Case("pause", ethernet(0x8808, bytes(40), target=OTHER_MAC), "control", "control"),
    Case("PVST", ethernet(50, bytes(50), target="01:00:0c:cc:cc:cd"), "control", "control"),
    Case("PPPoE discovery", ethernet(0x8863, bytes(40)), None, "type"),
    Case("802.3 length", ethernet(40, bytes(40)), None, "type"),
    Case("ARP with another's IP address", arp(OTHER_IP, HOST_IP, 2), None, "arp"),
    Case("ARP with the host's IP address", arp(HOST_IP, OTHER_IP, 2), None, "arp"),
    Case("ARP with another's MAC address inside", arp(IP, HOST_IP, 2, OTHER_MAC), None, "arp"),
    Case("ARP probe for another's address", arp("0.0.0.0", OTHER_IP), None, "arp"),
    Case("ARP of no Ethernet", ethernet(_ARP, struct.pack("!HHBBH", 6, _IPV4, 6, 4, 1)), None, "arp"),
    Case("IPv4 under another's address", ipv4(OTHER_IP, udp(1000, 2000)), None, "ipv4"),
    Case("IPv4 under the host's address", ipv4(HOST_IP, udp(1000, 2000)), None, "ipv4"),
    Case("IPv4 without an address", ipv4("0.0.0.0", udp(1000, 2000)), None, "ipv4"),
    Case("DHCP request in a fragment", ipv4("0.0.0.0", udp(68, 67), fragment=0x2000), None, "ipv4"),
    Case("IPv4 cut short", ethernet(_IPV4, b"")[:20], None, "ipv4"),
    Case("DHCP answer", ipv4(IP, udp(67, 68, bytes(240))), None, "dhcp"),
    Case("DHCP answer from another port", ipv4(IP, udp(6767, 68)), None, "dhcp"),
    Case("DHCP answer, first fragment", ipv4(IP, udp(67, 68), fragment=0x2000), None, "dhcp"),
    Case("IGMP query", ipv4(IP, igmp(0x11), _IGMP), None, "igmp"),
    Case("IGMP query with a router alert", _alerted(ipv4(IP, igmp(0x11), _IGMP)), None, "igmp"),
    Case("IGMP query without an address", ipv4("0.0.0.0", igmp(0x11), _IGMP), None, "ipv4"),
    Case("IGMP query, first fragment", ipv4(IP, igmp(0x11), _IGMP, fragment=0x2000), None, "igmp"),
    Case("later fragment of IGMP", ipv4(IP, bytes(16), _IGMP, fragment=100), None, "igmp"),
    Case("announcement of another's MAC address", rarp(OTHER_MAC), None, "type"),
    Case("multicast router advertisement", ipv4(IP, igmp(0x30), _IGMP), None, "igmp"),
    Case("OSPF", ipv4(IP, bytes(24), 89), None, "router"),
    Case("PIM", ipv4(IP, bytes(24), 103), None, "router"),
    Case("VRRP", ipv4(IP, bytes(24), 112), None, "router"),
    Case("ICMP redirect", ipv4(IP, bytes((5, 1, 0, 0, 0, 0, 0, 0)), _ICMP), None, "router"),
    Case("multicast router advertisement of IPv6", ipv6(LINK_LOCAL, icmpv6(151)), None, "neighbour"),
    Case("IPv6 under another's address", ipv6(OTHER_IPV6, udp(1000, 2000), _UDP), None, "ipv6"),
    Case("IPv6 under another's link-local", ipv6(OTHER_LINK_LOCAL, icmpv6(133)), None, "ipv6"),
    Case("IPv6 without an address", ipv6("::", udp(1000, 2000), _UDP), None, "ipv6"),
    Case("echo without an address", ipv6("::", icmpv6(128)), None, "ipv6"),
    Case("IPv6 cut short", ethernet(_IPV6, b"")[:40], None, "ipv6"),
    Case("router advertisement", ipv6(LINK_LOCAL, icmpv6(134)), None, "neighbour"),
    Case("IPv6 redirect", ipv6(LINK_LOCAL, icmpv6(137)), None, "neighbour"),
    Case("multicast query", ipv6(LINK_LOCAL, icmpv6(130)), None, "neighbour"),
    Case("neighbour advertisement for another", ipv6(LINK_LOCAL, icmpv6(136, OTHER_IPV6)), None, "neighbour"),
    Case("is another's IPv6 address free", ipv6("::", icmpv6(135, OTHER_IPV6)), None, "neighbour"),
    Case("DHCPv6 answer", ipv6(LINK_LOCAL, udp(547, 546), _UDP), None, "neighbour"),
    Case("DHCPv6 answer from another port", ipv6(LINK_LOCAL, udp(5470, 546), _UDP), None, "neighbour"),
    Case("router advertisement behind an option", ipv6(LINK_LOCAL, _HIDDEN, 0), None, "neighbour"),
    Case("router advertisement behind destination options", ipv6(LINK_LOCAL, _HIDDEN, 60), None, "neighbour"),
    Case(
        "router advertisement in a fragment",
        ipv6(LINK_LOCAL, _first_fragment(_ICMPV6) + icmpv6(134), 44),
        None,
        "neighbour",
    ),
    Case(
        "DHCPv6 answer in a fragment",
        ipv6(LINK_LOCAL, _first_fragment(_UDP) + udp(547, 546), 44),
        None,
        "neighbour",
    ),
)
