"""Partition keys: what may be one, and how the pool is used and runs dry."""

import pytest

from rocks.core.errors import StateError, UserError
from rocks.network.infiniband.guids import derive_guids, guid_text, read_guid
from rocks.network.infiniband.partition_plan import (
    PartitionMember,
    check_default_membership,
    check_sm,
    check_unique_guids,
)
from rocks.network.infiniband.pkeys import next_pkey, pkey_text, read_membership, read_pkey


@pytest.mark.parametrize(
    ("text", "key"), [("0x0002", 2), ("2", 2), ("0x8002", 2), ("32770", 2), ("0X7FFE", 0x7FFE), ("1", 1)]
)
def test_a_key_with_or_without_the_bit_of_full_members(text: str, key: int) -> None:
    assert read_pkey(text) == key
    assert read_pkey(pkey_text(key)) == key


@pytest.mark.parametrize(
    "text",
    ["", "0", "0x0", "0x8000", "0x7fff", "0xffff", "65536", "0x12345", "-1", "1.5", "0xg", "٣", "two", " 2"],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UserError, match="give a number from 0x0001 to 0x7ffe"):
        read_pkey(text)


def test_the_lowest_free_key_of_the_pool() -> None:
    pool = "0x10-0x12, 0x20"
    assert next_pkey(pool, set()) == 0x10
    assert next_pkey(pool, {0x10, 0x11}) == 0x12
    assert next_pkey(pool, {0x10, 0x11, 0x12, 2}) == 0x20
    with pytest.raises(
        StateError, match="all partition keys of the pool ib_pkey_pool=0x10-0x12, 0x20 are in use"
    ):
        next_pkey(pool, {0x10, 0x11, 0x12, 0x20})


@pytest.mark.parametrize("pool", ["0x12-0x10", "0x10-", "-5", "0x10-0x7fff", "some", "0x10;0x11"])
def test_a_pool_that_is_none(pool: str) -> None:
    with pytest.raises(
        StateError, match='the attribute ib_pkey_pool=".*" is not a pool of keys .*; set it as 0x0002'
    ):
        next_pkey(pool, set())


def test_a_site_without_a_pool() -> None:
    with pytest.raises(StateError, match="rocks set attr ib_pkey_pool 0x0002-0x00ff"):
        next_pkey(" ", set())


def test_memberships() -> None:
    assert [read_membership(word) for word in ("full", "limited")] == ["full", "limited"]
    for word in ("both", "", "Full"):
        with pytest.raises(UserError, match="it must be full or limited"):
            read_membership(word)
    assert check_default_membership("none") == "none"
    with pytest.raises(StateError, match="set it to both, full, limited or none"):
        check_default_membership("all")
    assert [check_sm(""), check_sm("virtual")] == [False, True]
    with pytest.raises(StateError, match="set it to virtual or remove it"):
        check_sm("yes")


@pytest.mark.parametrize(
    "text", ["0x0002c90300a1b2c3", "0002:c903:00a1:b2c3", "00:02:c9:03:00:A1:B2:C3", "0002C90300A1B2C3"]
)
def test_a_guid_in_each_of_its_forms(text: str) -> None:
    assert guid_text(read_guid(text)) == "0x0002c90300a1b2c3"


@pytest.mark.parametrize(
    "text", ["", "0x2c9", "0x0000000000000000", "f" * 16, "0002:c903:00a1", "g" * 16, "0x" + "1" * 17]
)
def test_what_is_no_guid(text: str) -> None:
    with pytest.raises(UserError, match="it must be 16 hexadecimal digits"):
        read_guid(text)


def test_guids_are_derived_from_the_name_and_unique() -> None:
    """Locally administered, the same for the same name; one that somebody has is passed over."""
    names = [f"vm-vc{number}-0" for number in range(2000)]
    found = derive_guids(names, set())
    numbers = [number for guids in found.values() for number in guids]
    assert len(set(numbers)) == len(numbers)
    assert all(number >> 56 == 0x02 for number in numbers)
    assert derive_guids(["VM-VC7-0"], set())["VM-VC7-0"] == found["vm-vc7-0"]
    for taken in found["vm-vc7-0"]:
        other = derive_guids(["vm-vc7-0"], {taken})["vm-vc7-0"]
        assert not set(other) & set(found["vm-vc7-0"])


def test_one_guid_for_two() -> None:
    same = (PartitionMember(2, 5, "a mlx4_0 port 1"), PartitionMember(3, 5, "a mlx4_0 port 1"))
    check_unique_guids(same)
    with pytest.raises(StateError, match="a mlx4_0 port 1 and vm b have the same GUID 0x0000000000000005"):
        check_unique_guids((*same, PartitionMember(2, 5, "vm b")))
