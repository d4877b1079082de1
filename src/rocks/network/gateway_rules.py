"""The gateway and the default route of a host: for its installation, its profile and its own files. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from rocks.network.network_rules import attribute_address
from rocks.network.route_rules import ANYWHERE, ResolvedRoute, Route, device_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.inventory.records import Host

GATEWAY_ATTRIBUTE = "Kickstart_PrivateGateway"

# each is asked for once for each route
_interface = lru_cache(ipaddress.IPv4Interface)
_gateway_address = lru_cache(ipaddress.IPv4Address)


def host_gateway(host: Host) -> str:
    """The gateway of the host's default route, else of the attribute, or ''. UserError for an invalid attribute."""
    if any(is_default(one.route) for one in host.routes):
        return default_gateway(host.routes)
    return attribute_address(GATEWAY_ATTRIBUTE, host.attribute(GATEWAY_ATTRIBUTE).strip())


def default_route(host: Host) -> tuple[str, str]:
    """(gateway, device) of a host's default route, each '' when there is none; no host is its own gateway.

    The device is that on the primary network, or that of a route through a network.
    """
    route = next((one.route for one in host.routes if is_default(one.route)), None)
    if route is not None and not route.gateway:
        return "", device_on(host.interfaces, route.subnet)
    gateway = host_gateway(host)
    if gateway in (one.ip for one in host.interfaces):
        gateway = ""
    return gateway, device_on(host.interfaces, primary_network(host))


def primary_network(host: Host) -> str:
    """The network that names the host: the attribute `primary_net`, or private."""
    return host.attribute("primary_net")


def is_default(route: Route) -> bool:
    """Whether it is the default route."""
    return (route.network, route.netmask) == (ANYWHERE, ANYWHERE)


def is_on(address: str, gateway: str) -> bool:
    """Whether the gateway is another host on the network of a device with that address."""
    own = _interface(address)
    try:
        other = _gateway_address(gateway)
    except ValueError:
        return False
    return other in own.network and other != own.ip


def default_gateway(routes: Iterable[ResolvedRoute]) -> str:
    """The gateway of the default route; '' when there is none, or none by a gateway."""
    return next((one.route.gateway for one in routes if is_default(one.route)), "")
