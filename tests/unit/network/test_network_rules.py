"""Rules of networks, their addresses, routes and VLANs."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.inventory.records import Network
from rocks.network.interface_rules import Subnet
from rocks.network.network_rules import (
    check_interfaces_fit,
    check_network,
    check_zone,
    next_addresses,
    read_addresses,
    read_mtu,
)

PRIVATE = Network("private", "10.1.0.0", "255.255.0.0", 1500, "local", True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_network_with_host_addresses_is_read(number: int, prefix: int) -> None:
    network = ipaddress.IPv4Network((number, prefix), strict=False)
    assert read_addresses(str(network.network_address), str(network.netmask)) == network


@given(st.integers(0, 2**32 - 1))
def test_a_netmask_is_one_row_of_ones(number: int) -> None:
    mask = str(ipaddress.IPv4Address(number))
    contiguous = f"{number:032b}".rstrip("0").count("0") == 0
    has_host_bits = 1 <= f"{number:032b}".count("1") <= 30
    if contiguous and has_host_bits:
        assert str(read_addresses("0.0.0.0", mask).netmask) == mask
    else:
        with pytest.raises(UserError, match=f'^netmask "{mask}" is not valid: '):
            read_addresses("0.0.0.0", mask)


@pytest.mark.parametrize(
    "text", ["", "10.1", "10.1.0.256", "10.01.0.0", " 10.1.0.0", "10.1.0.0/16", "::1", "x'\n"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match=r'^subnet ".*" is not valid: it must be IPv4'):
        read_addresses(text, "255.255.0.0")
    with pytest.raises(UserError, match=r'^netmask ".*" is not valid: it must be IPv4'):
        read_addresses("10.1.0.0", text)


def test_a_host_address_is_no_subnet() -> None:
    with pytest.raises(UserError, match=r'^subnet "10.1.0.5" is not valid with netmask .*: .* is 10.1.0.0$'):
        read_addresses("10.1.0.5", "255.255.0.0")


@pytest.mark.parametrize(("text", "size"), [("576", 576), ("1500", 1500), ("65535", 65535)])
def test_mtu(text: str, size: int) -> None:
    assert read_mtu(text) == size


@pytest.mark.parametrize("text", ["575", "99", "65536", "-1500", "", "1500.0", "1k", "１５００", "9" * 30])
def test_what_is_no_mtu(text: str) -> None:
    with pytest.raises(UserError, match=r'^mtu ".*" must be an integer from 576 to 65535$'):
        read_mtu(text)


@pytest.mark.parametrize("zone", ["local", "example.org", "a-b.c_d", "x" * 63, "0"])
def test_zones(zone: str) -> None:
    check_zone(zone)


@pytest.mark.parametrize(
    "zone", ["", ".", "a..b", "a.", "-a", "a-", "a b", "a/b", "é", "a\n", "x" * 64, ".".join(["abc"] * 17)]
)
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(UserError, match=r'^dnszone ".*" is not valid: '):
        check_zone(zone)


def test_a_whole_network_is_checked() -> None:
    check_network(PRIVATE)
    with pytest.raises(UserError, match="^network"):
        check_network(Network("a b", "10.1.0.0", "255.255.0.0", 1500, "local", True))
    with pytest.raises(UserError, match="^subnet"):
        check_network(Network("a", "10.1.0.1", "255.255.0.0", 1500, "local", True))
    with pytest.raises(UserError, match="^dnszone"):
        check_network(Network("a", "10.1.0.0", "255.255.0.0", 1500, "lo cal", True))


def test_interfaces_must_lie_within() -> None:
    check_interfaces_fit(PRIVATE, [("a", "10.1.0.1"), ("b", "10.1.255.254"), ("c", "not an address")])
    for outside in ("10.2.0.1", "10.1.0.0", "10.1.255.255"):
        with pytest.raises(
            UserError, match=f'^host b has {outside} on the network "private", which is outside'
        ):
            check_interfaces_fit(PRIVATE, [("a", "10.1.0.1"), ("b", outside)])


# The next free addresses of a network.


OF_ADDRESSES = Subnet("private", "10.1.0.0", "255.255.0.0")
TINY = Subnet("tiny", "192.0.2.0", "255.255.255.240")
HOSTS = [str(ip) for ip in ipaddress.IPv4Network("192.0.2.0/28").hosts()]


def test_counts_down_from_the_broadcast_address() -> None:
    assert next_addresses(OF_ADDRESSES, []) == ["10.1.255.254"]
    assert next_addresses(OF_ADDRESSES, ["10.1.255.253", "10.2.255.254", "nonsense", ""], 2) == [
        "10.1.255.254",
        "10.1.255.252",
    ]


def test_counts_up_from_a_base() -> None:
    assert next_addresses(OF_ADDRESSES, ["10.1.0.7"], 2, 1, "10.1.0.7") == ["10.1.0.8", "10.1.0.9"]
    assert next_addresses(OF_ADDRESSES, [], 1, 1) == ["10.1.0.1"]


@given(st.sets(st.sampled_from(HOSTS)), st.integers(1, 16), st.sampled_from([1, -1]))
def test_exactly_the_free_ones_are_found(used: set[str], count: int, increment: int) -> None:
    free = [ip for ip in HOSTS[::increment] if ip not in used]
    if count > len(free):
        with pytest.raises(StateError, match=f'"tiny", 192.0.2.0/28, has only {len(free)} of {count}'):
            next_addresses(TINY, used, count, increment)
    else:
        assert next_addresses(TINY, used, count, increment) == free[:count]


def test_a_base_outside_is_refused() -> None:
    with pytest.raises(UserError, match="10.2.0.1 is not in the network"):
        next_addresses(OF_ADDRESSES, [], base="10.2.0.1")
