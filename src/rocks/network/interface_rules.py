"""Rules for interfaces: VLAN ids, MAC addresses, IPv4 addresses, their networks. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, NamedTuple

from rocks.core.errors import IncoherentError, UserError
from rocks.core.names import printable
from rocks.core.values import is_null, read_number
from rocks.inventory.mac_pool import mac_fault
from rocks.network.limits import MAX_VLAN_ID

_OCTET = "[0-9A-Fa-f]{1,2}"
_MAC = re.compile(f"{_OCTET}(?::{_OCTET})+")
_OCTETS = (6, 8, 20)
"""Lengths of hardware addresses: Ethernet, the GUID of a port, the link address of an InfiniBand interface."""

_LEAST_PARTS = 6
"""An argument of so many parts, separated by colons, is a MAC address where a device is valid as well."""


class Subnet(NamedTuple):
    """A network of interfaces: its name, its first address, its netmask."""

    name: str
    subnet: str
    netmask: str


def read_vlan(text: str) -> int | None:
    """The VLAN id in `text`; None for 0 and NULL."""
    return None if is_null(text) else read_number("vlan", text, 0, MAX_VLAN_ID) or None


def looks_like_mac(text: str) -> bool:
    """Whether an argument that names an interface is a MAC address and not a device."""
    return text.count(":") >= _LEAST_PARTS - 1


def check_mac(text: str) -> None:
    """UserError unless `text` has 6 octets of two digits, or 8 or 20 of InfiniBand, and an adapter can have it."""
    check_mac_selector(text)
    if any(len(octet) != 2 for octet in text.split(":")):
        raise UserError(
            f"The mac address {printable(text)} is invalid: give each octet two digits, such as 76:77:6e:80:00:00"
        )
    if reason := mac_fault(text):
        raise UserError(f"The mac address {text} is invalid: it {reason}; no adapter can have it")


def check_mac_selector(text: str) -> None:
    """UserError unless `text` can be the address of a stored interface, which may lack leading zeros."""
    if not _MAC.fullmatch(text) or text.count(":") + 1 not in _OCTETS:
        raise UserError(
            f"The mac address {printable(text)} is invalid: it must be six hexadecimal numbers with colons, "
            "such as 76:77:6e:80:00:00"
        )


def mac_pattern(mac: str) -> str:
    """A regular expression that matches `mac` in all notations: octets with or without a leading zero."""
    return "^" + ":".join(f"0?{int(octet, 16):x}" for octet in mac.split(":")) + "$"


def address_in_use(kind: Literal["ip", "mac"], address: str, owner: str = "", remedy: str = "") -> UserError:
    """The error for an address that another interface has, of the host `owner` where this is known."""
    return UserError(
        f"The {kind} address {address} is in use{owner and f' by host {owner}'}{remedy and f'; {remedy}'}"
    )


def check_ip(text: str) -> None:
    """UserError unless `text` is a valid IPv4 address of an interface."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise UserError(
            f"The ip address {printable(text)} is invalid: it must be IPv4, such as 10.1.255.254"
        ) from None
    if address.is_unspecified or address.is_multicast or address.is_loopback or address == _ALL_ONES:
        raise UserError(f"The ip address {text} is invalid: no interface can have it")


def check_ip_in(ip: str, subnet: Subnet) -> None:
    """UserError unless the address is inside the network, and neither its first nor its broadcast address."""
    network = read_network(subnet)
    address = ipaddress.IPv4Address(ip)
    if address not in network:
        raise UserError(f'The ip address {ip} is not in the network "{subnet.name}", which is {network}')
    if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
        which = "network" if address == network.network_address else "broadcast"
        raise UserError(
            f'The ip address {ip} is the {which} address of "{subnet.name}", {network}; give another'
        )


def read_network(subnet: Subnet) -> ipaddress.IPv4Network:
    """The network as addresses. IncoherentError when its row in the database is not a valid IPv4 network."""
    try:
        return ipaddress.IPv4Network(f"{subnet.subnet}/{subnet.netmask}", strict=False)
    except ValueError:
        raise IncoherentError(
            f'the network "{subnet.name}" has subnet {printable(subnet.subnet)} and netmask '
            f"{printable(subnet.netmask)}, which is not an IPv4 network; correct it with rocks set network subnet"
        ) from None


_ALL_ONES = ipaddress.IPv4Address("255.255.255.255")
