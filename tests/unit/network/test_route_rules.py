"""Which routes are valid, which apply to a host, and through which of its devices they lead."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.network.host_network_plan import DeviceRoute, default_gateway, plan_network, unreachable_routes
from rocks.network.route_rules import (
    ResolvedRoute,
    Route,
    RouteOwner,
    StoredRoute,
    read_destination,
    resolve_routes,
)
from tests.unit.machines import PRIVATE, PUBLIC, container, interface

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
OWNER = RouteOwner("compute-0-0", "linux", "compute")
WIDE = Route("10.2.0.0", "255.255.0.0", "10.1.1.1")
NARROW = Route("10.2.0.0", "255.255.255.0", "10.1.1.2")


@given(st.integers(0, 2**32 - 1), st.integers(1, 32))
def test_a_network_is_read_only_by_its_first_address(number: int, prefix: int) -> None:
    mask = (2**32 - 1) << (32 - prefix) & (2**32 - 1)
    address, netmask = (
        ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0)) for value in (number, mask)
    )
    if number & mask == number and number:
        assert str(read_destination(address, netmask)) == f"{address}/{prefix}"
    else:
        with pytest.raises(UserError):
            read_destination(address, netmask)


def test_a_later_scope_replaces_the_routes_to_an_address() -> None:
    stored = [
        StoredRoute("global", "", WIDE),
        StoredRoute("appliance", "Compute", NARROW),
        StoredRoute("host", "compute-0-1", WIDE),
        StoredRoute("os", "sunos", Route("10.9.0.0", "255.255.0.0", "10.1.1.3")),
    ]
    assert resolve_routes([OWNER], stored) == {"compute-0-0": (ResolvedRoute(NARROW, "A"),)}
    both = [StoredRoute("host", "COMPUTE-0-0", one) for one in (NARROW, WIDE)]
    found = resolve_routes([OWNER], [*stored, *both])
    assert found == {"compute-0-0": (ResolvedRoute(WIDE, "H"), ResolvedRoute(NARROW, "H"))}


def test_each_route_leads_through_the_device_of_its_gateway_or_network() -> None:
    eth0 = interface("eth0", mac=MAC, ip="10.1.255.254", **PRIVATE)
    eth1 = interface("eth1", mac=OTHER, ip="203.0.113.9", **PUBLIC)
    routes = [
        Route("0.0.0.0", "0.0.0.0", "203.0.113.1"),
        WIDE,
        Route("224.0.0.0", "255.255.255.0", subnet="Private"),
        Route("10.5.0.0", "255.255.0.0", subnet="nowhere"),
        Route("10.6.0.0", "255.255.0.0", "10.1.255.254"),
        Route("10.7.0.0", "255.255.0.0", "192.0.2.1"),
    ]
    host = container(interfaces=[eth0, eth1], kvm="no", Kickstart_PrivateGateway="10.1.1.1")
    host = replace(host, routes=tuple(ResolvedRoute(one, "H") for one in routes))
    devices, left_out = plan_network(host)
    assert left_out == ()
    assert [(one.name, one.gateway) for one in devices] == [("eth0", ""), ("eth1", "203.0.113.1")]
    assert devices[0].routes == (DeviceRoute("10.2.0.0/16", "10.1.1.1"), DeviceRoute("224.0.0.0/24", ""))
    assert devices[1].routes == ()
    assert unreachable_routes(host, devices) == [routes[5]], "the host's own address needs no route"
    assert default_gateway(host.routes) == "203.0.113.1"


def test_an_invalid_stored_route_is_left_out_alone() -> None:
    eth0 = interface("eth0", mac=MAC, ip="10.1.255.254", **PRIVATE)
    bad = ResolvedRoute(Route("10.2.0.1\nGateway=1", "255.255.0.0", "10.1.1.1"), "G")
    host = replace(container(interfaces=[eth0]), routes=(bad, ResolvedRoute(WIDE, "H")))
    devices, left_out = plan_network(host)
    assert devices[0].routes == (DeviceRoute("10.2.0.0/16", "10.1.1.1"),)
    (one,) = left_out
    assert "rocks list host route vmc-0-0" in one.text and "\n" not in one.text
