"""Which virtual function of a host each machine gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import AdapterFact, VfFact
from rocks.network.guest_connections import VirtualFunction
from rocks.network.sriov.function_choice import (
    AdapterRow,
    AssignedVf,
    Claimant,
    VfRow,
    now_cells,
    plan_vfs,
    vf_rows,
    vfs_left,
)

MAC, OTHER_MAC = "52:54:00:aa:00:01", "52:54:00:aa:00:02"
HOST = "vmc-0-0"


def function(mac: str = MAC, device: str = "eth1") -> VirtualFunction:
    """What an interface asks for."""
    return VirtualFunction(mac, device, f"p{device}", 4)


def assigned_vf(number: int, name: str = "other", mac: str = OTHER_MAC, token: int = 3) -> AssignedVf:
    """A function of eth1 that is given."""
    return AssignedVf(HOST, "eth1", number, name, mac, token)


def claimant(*expected: VirtualFunction, name: str = "web", token: int = 7) -> Claimant:
    """A machine that is about to start."""
    return Claimant(name, HOST, token, expected)


def test_the_lowest_free_function_is_taken() -> None:
    taken = [assigned_vf(0), assigned_vf(2)]
    assert plan_vfs(claimant(function()), {"eth1": 4}, taken) == (AssignedVf(HOST, "eth1", 1, "web", MAC, 7),)


def test_two_interfaces_get_two_functions() -> None:
    found = plan_vfs(claimant(function(), function(OTHER_MAC)), {"eth1": 2}, [])
    assert [(row.number, row.mac) for row in found] == [(0, MAC), (1, OTHER_MAC)]
    found = plan_vfs(
        claimant(function(), function(OTHER_MAC, "eth2")), {"eth1": 1, "eth2": 1}, [assigned_vf(5)]
    )
    assert [(row.device, row.number) for row in found] == [("eth1", 0), ("eth2", 0)]


def test_a_start_that_was_cut_off_finds_its_function_again() -> None:
    mine = assigned_vf(3, "WEB", MAC, token=7)
    assert plan_vfs(claimant(function("52:54:0:AA:0:1")), {"eth1": 4}, [mine]) == (mine,)


def test_a_function_of_an_older_lease_is_not_taken_again() -> None:
    """Its old host has not reported that the domain is gone."""
    old = assigned_vf(0, "web", MAC, token=6)
    (row,) = plan_vfs(claimant(function()), {"eth1": 2}, [old])
    assert (row.number, row.token) == (1, 7)


def test_none_left() -> None:
    taken = [assigned_vf(0, "b"), assigned_vf(1, "a")]
    with pytest.raises(StateError) as refused:
        plan_vfs(claimant(function()), {"eth1": 2}, taken)
    assert "all 2 virtual functions of eth1 on vmc-0-0 are taken by a, b;" in str(refused.value)
    assert "rocks set host sriov vmc-0-0 eth1 NUMBER" in str(refused.value)


def test_a_device_that_gives_none() -> None:
    with pytest.raises(StateError, match=r"asks for a virtual function of eth1 on vmc-0-0, which has none"):
        plan_vfs(claimant(function()), {"eth2": 2}, [])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=12), st.integers(1, 8))
def test_no_function_is_ever_given_twice(requests: list[tuple[int, int]], most: int) -> None:
    """Whatever machines ask one after the other, each for as many."""
    taken: list[AssignedVf] = []
    for machine, (key, count) in enumerate(requests):
        expected = [function(f"52:54:00:{key:02x}:{machine:02x}:{one:02x}") for one in range(count)]
        try:
            taken += plan_vfs(claimant(*expected, name=f"vm{machine}"), {"eth1": most}, taken)
        except StateError:
            assert len(taken) + count > most
    assert len({row.number for row in taken}) == len(taken) <= most
    assert all(row.number < most for row in taken)


def test_functions_that_an_adapter_would_lose() -> None:
    rows = [assigned_vf(0), assigned_vf(2), assigned_vf(3)]
    assert vfs_left(rows, "ETH1", 3) == [rows[2]]
    assert vfs_left(rows, "eth2", 0) == []


ADAPTERS = [AdapterRow(HOST, "eth1", 2, ""), AdapterRow("vmc-0-1", "eth1", 1, "novtap")]


def test_a_listing_has_every_function_and_what_is_left_of_others() -> None:
    rows = vf_rows(ADAPTERS, [assigned_vf(1), AssignedVf(HOST, "old", 4, "web", MAC, 1)])
    assert rows == [
        VfRow(HOST, "eth1", 0, None, None),
        VfRow(HOST, "eth1", 1, "other", OTHER_MAC),
        VfRow("vmc-0-1", "eth1", 0, None, None),
        VfRow(HOST, "old", 4, "web", MAC),
    ]


def test_what_the_host_says_of_a_function() -> None:
    free = VfFact(0, "0000:01:10.0", OTHER_MAC, 0, True, False, "free", "")
    used = VfFact(1, "0000:01:10.2", MAC, 4, True, False, "guest", "the guest web")
    answers = {HOST: (AdapterFact("peth1", 7, "", (free, used)),), "vmc-0-1": None}
    reported = [now_cells(row, ADAPTERS, answers) for row in vf_rows(ADAPTERS, [])]
    assert reported == [
        ("0000:01:10.0", None, "free"),
        ("0000:01:10.2", "4", "the guest web"),
        (None, None, "no answer"),
    ]
    absent = {HOST: (AdapterFact("peth1", 7, "", ()),)}
    assert now_cells(VfRow(HOST, "eth1", 0, None, None), ADAPTERS, absent) == (None, None, "absent")
