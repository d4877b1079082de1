"""Rules for networks: subnet, netmask, MTU, DNS zone, and the next free addresses. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import check_network_name, printable
from rocks.core.values import read_number
from rocks.network.interface_rules import Subnet, read_network

if TYPE_CHECKING:
    from rocks.inventory.records import Network


DEFAULT_MTU_BYTES = 1500
MTU_LOWEST_BYTES = 576
"""Every host of IPv4 must take datagrams of this length (RFC 791); a smaller MTU is a typing error."""
MTU_HIGHEST_BYTES = 65535
ZONE_LONGEST = 64

_ZONE_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def unknown_network(name: str, known: Iterable[str]) -> UserError:
    """The error about a network that is none of the known ones."""
    from rocks.core.near_names import did_you_mean

    return UserError(
        f'unknown network "{printable(name)}"; {did_you_mean(name, known)}rocks list network shows all networks'
    )


def check_network(network: Network) -> None:
    """UserError unless all values of a new network are valid."""
    check_network_name(network.name)
    read_addresses(network.subnet, network.netmask)
    check_zone(network.dns_zone)


def read_netmask(netmask: str) -> tuple[ipaddress.IPv4Address, int]:
    """The netmask, and the bits of hosts; UserError unless it is contiguous."""
    mask = read_ipv4("netmask", netmask, "255.255.0.0")
    inverse = ~int(mask) & 0xFFFF_FFFF
    if inverse & (inverse + 1):
        raise UserError(f'netmask "{netmask}" is not valid: its ones must come first, such as 255.255.0.0')
    return mask, inverse


def read_addresses(subnet: str, netmask: str) -> ipaddress.IPv4Network:
    """The addresses of a network; UserError unless it is IPv4, contiguous, and has addresses for hosts."""
    address = read_ipv4("subnet", subnet, "10.1.0.0")
    mask, inverse = read_netmask(netmask)
    if inverse < 3 or int(mask) == 0:
        raise UserError(f'netmask "{netmask}" is not valid: it must be from 128.0.0.0 to 255.255.255.252')
    network = ipaddress.IPv4Network((int(address) & int(mask), 32 - inverse.bit_length()))
    if network.network_address != address:
        raise UserError(
            f'subnet "{subnet}" is not valid with netmask {netmask}: the network of that address is '
            f"{network.network_address}"
        )
    return network


def check_no_overlap(network: Network, others: Iterable[Network]) -> None:
    """UserError when another network has addresses of this one; networks without valid addresses are left out."""
    addresses = read_addresses(network.subnet, network.netmask)
    for other in others:
        try:
            present = read_addresses(other.subnet, other.netmask)
        except UserError:
            continue
        if other.name.lower() != network.name.lower() and addresses.overlaps(present):
            raise UserError(
                f'the addresses {addresses} of the network "{network.name}" overlap those of "{other.name}", {present}'
            )


def read_mtu(text: str) -> int:
    """The MTU in bytes; UserError unless it is a number in the range of link MTUs."""
    return read_number("mtu", text, MTU_LOWEST_BYTES, MTU_HIGHEST_BYTES)


def check_zone(zone: str) -> None:
    """UserError unless `zone` is a valid DNS domain."""
    if len(zone) > ZONE_LONGEST or not all(_ZONE_LABEL.fullmatch(label) for label in zone.split(".")):
        raise UserError(
            f'dnszone "{printable(zone)}" is not valid: it must be a domain name of at most {ZONE_LONGEST} characters, '
            "such as local or example.org"
        )


def check_interfaces_fit(network: Network, interfaces: Iterable[tuple[str, str]]) -> None:
    """UserError when the address of one of the (host, IP address) pairs would be outside the network."""
    addresses = read_addresses(network.subnet, network.netmask)
    for host, ip in interfaces:
        if not _is_host_address(ip, addresses):
            raise UserError(
                f'host {host} has {ip} on the network "{network.name}", which is outside {addresses}; '
                "change it first with rocks set host interface ip"
            )


def _is_host_address(ip: str, addresses: ipaddress.IPv4Network) -> bool:
    try:
        address = ipaddress.IPv4Address(ip)
    except ValueError:
        return True  # not IPv4, so it is neither inside nor outside a subnet
    ends = (addresses.network_address, addresses.broadcast_address)
    return address in addresses and address not in ends


def read_ipv4(name: str, text: str, example: str) -> ipaddress.IPv4Address:
    """The IPv4 address in the parameter `name`; UserError for any other text."""
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise UserError(
            f'{name} "{printable(text)}" is not valid: it must be IPv4, such as {example}'
        ) from None


def attribute_address(name: str, text: str) -> str:
    """The IPv4 address in the value of an attribute, '' for ''; UserError for any other text."""
    try:
        return str(ipaddress.IPv4Address(text)) if text else ""
    except ValueError:
        raise UserError(
            f'the attribute {name} has "{printable(text)}", which is not an IPv4 address: rocks set attr {name} …'
        ) from None


# Choose the next free addresses of a network. Pure.


def next_addresses(
    subnet: Subnet, used: Iterable[str], count: int = 1, increment: int = -1, base: str | None = None
) -> list[str]:
    """`count` unused addresses, found by steps of `increment` from `base`.

    `base` is itself a candidate. Without it the search begins at the broadcast address, or with a positive
    `increment` at the network address. Texts in `used` that are not addresses of the network are ignored. UserError
    for a base outside the network; StateError when the network has too few free addresses in that direction.
    """
    network = read_network(subnet)
    first, last = int(network.network_address), int(network.broadcast_address)
    number = _start(subnet, network, increment, base)
    taken = _numbers(used) | ({first, last} if network.prefixlen < 31 else set())
    chosen: list[str] = []
    while len(chosen) < count and first <= number <= last:
        if number not in taken:
            chosen.append(str(ipaddress.IPv4Address(number)))
        number += increment
    if len(chosen) < count:
        raise StateError(
            f'the network "{subnet.name}", {network}, has only {len(chosen)} of {count} free addresses left'
            f"{f' from {base} on' if base else ''}; remove unused hosts or widen the network"
        )
    return chosen


def _start(subnet: Subnet, network: ipaddress.IPv4Network, increment: int, base: str | None) -> int:
    if base is None:
        return int(network.broadcast_address if increment < 0 else network.network_address)
    if ipaddress.IPv4Address(base) not in network:
        raise UserError(f'The ip address {base} is not in the network "{subnet.name}", which is {network}')
    return int(ipaddress.IPv4Address(base))


def _numbers(texts: Iterable[str]) -> set[int]:
    numbers = set()
    for text in texts:
        try:
            numbers.add(int(ipaddress.IPv4Address(text)))
        except ValueError:
            pass  # not an IPv4 address, so it uses none of the network
    return numbers
