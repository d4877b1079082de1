"""Choose the next free addresses of a network. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from rocks.core.errors import StateError, UserError
from rocks.network.interface_rules import Subnet, read_network


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
