"""Static routes: what is valid, and which apply to a host. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.attributes.rules import SOURCE_LETTERS
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import read_ipv4, read_netmask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.inventory.records import Interface

ANYWHERE = "0.0.0.0"
"""Address, and netmask, of the default route."""

ONE_HOST = "255.255.255.255"

SCOPES = ("global", "os", "appliance", "host")
"""The scopes of routes; of two routes to the same network that of the later scope applies."""


class Route(NamedTuple):
    """A route to a network, by a gateway or, when that is '', through the device on the network `subnet`."""

    network: str
    netmask: str
    gateway: str = ""
    subnet: str = ""

    @property
    def destination(self) -> str:
        """The network with its prefix length. UserError for a record that is not valid."""
        return str(read_destination(self.network, self.netmask))

    @property
    def through(self) -> str:
        """The gateway, or the name of the network."""
        return self.gateway or self.subnet


class StoredRoute(NamedTuple):
    """A route of a member of a scope, as it is stored."""

    scope: str
    member: str
    route: Route


class ResolvedRoute(NamedTuple):
    """A route that applies to a host, with the letter of the scope that supplied it."""

    route: Route
    source: str


class RouteOwner(NamedTuple):
    """The name of a host and the scopes that it belongs to."""

    host: str
    os: str
    appliance: str


def read_destination(address: str, netmask: str) -> ipaddress.IPv4Network:
    """The network of a route; UserError unless the netmask is contiguous and the address is the network's first."""
    first = read_ipv4("address", address, "10.2.0.0")
    mask, inverse = read_netmask(netmask)
    if int(first) & inverse:
        of_mask = ipaddress.IPv4Address(int(first) & int(mask))
        raise UserError(
            f'address "{address}" is not valid with netmask {netmask}: the network of that address is {of_mask}'
        )
    if int(first) == 0 and int(mask) != 0:
        raise UserError(f"the route to {ANYWHERE} is the default route, which has netmask={ANYWHERE}")
    return ipaddress.IPv4Network((int(first), 32 - inverse.bit_length()))


def is_address(text: str) -> bool:
    """Whether a gateway is an address, and not the name of a network. UserError for an address of no gateway."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        if text.replace(".", "").isdigit():
            raise UserError(
                f'the gateway "{printable(text)}" is not valid: it is an IPv4 address, such as 10.1.1.1, or the name '
                "of a network"
            ) from None
        return False
    check_ip(text)
    return True


def resolve_routes(
    owners: Iterable[RouteOwner], stored: Iterable[StoredRoute]
) -> dict[str, tuple[ResolvedRoute, ...]]:
    """Host → its routes, by address, then by netmask.

    For each address the routes of the last scope that has one apply; they may differ in their netmask.
    """
    by_member: dict[tuple[str, str], list[Route]] = {}
    for one in stored:
        by_member.setdefault((one.scope, one.member.lower()), []).append(one.route)
    return {owner.host: _resolve_one(owner, by_member) for owner in owners}


def _resolve_one(
    owner: RouteOwner, by_member: Mapping[tuple[str, str], Sequence[Route]]
) -> tuple[ResolvedRoute, ...]:
    members = ("", owner.os, owner.appliance, owner.host)
    by_address: dict[str, list[ResolvedRoute]] = {}
    for scope, member in zip(SCOPES, members, strict=True):
        of_scope: dict[str, list[ResolvedRoute]] = {}
        for route in by_member.get((scope, member.lower()), ()):
            of_scope.setdefault(route.network, []).append(ResolvedRoute(route, SOURCE_LETTERS[scope]))
        by_address |= of_scope
    routes = (one for found in by_address.values() for one in found)
    return tuple(sorted(routes, key=lambda one: route_place(one.route)))


def route_place(route: Route) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """The place of a route in a list: by address and netmask as numbers, whatever is stored."""
    return _numbers(route.network), _numbers(route.netmask), route.network


@lru_cache(maxsize=1024)  # a site has few addresses and netmasks of routes, and tens of thousands of hosts
def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) if part.isascii() and part.isdigit() else -1 for part in parts)


def device_on(interfaces: Iterable[Interface], subnet: str) -> str:
    """The device of a host on the network, which is not the entry of a VLAN; '' when it has none."""
    on_network = (
        one.device
        for one in interfaces
        if one.device and not one.is_vlan and (one.subnet or "").lower() == subnet.lower()
    )
    return next(on_network, "")
