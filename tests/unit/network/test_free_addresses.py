"""The next free addresses of a network."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError, UserError
from rocks.network.free_addresses import next_addresses
from rocks.network.interface_rules import Subnet

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
