"""InfiniBand: keys, the file for opensm, and what a check of a host finds."""

from dataclasses import replace

import pytest

from rocks.core.check_lines import OK, WRONG, SiteCheck
from rocks.core.errors import StateError, UserError
from rocks.fleet.wire.requests import InfinibandFacts, InfinibandVfFact, PortFact
from rocks.network.infiniband.partitions import generated_section, with_section
from rocks.network.infiniband.pkeys import (
    Partition,
    PartitionMember,
    PartitionTable,
    Port,
    check_default_membership,
    check_sm,
    check_unique_guids,
    derive_guids,
    guid_text,
    next_pkey,
    pkey_text,
    read_guid,
    read_membership,
    read_pkey,
)
from rocks.network.infiniband.ports import UNKNOWN, check_host, ports_of_facts


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


TABLE = PartitionTable(
    "both",
    (
        Partition("vc2", 3, "limited", False),
        Partition("vc1", 2, "full", True),
        Partition("idle", 4, "full", True),
    ),
    (
        PartitionMember(3, 0x10000B, "vmc-0-0 mlx4_0 port 1"),
        PartitionMember(2, 0x10000D, "vmc-0-1 mlx4_0 port 1"),
        PartitionMember(2, 0x10000B, "vmc-0-0 mlx4_0 port 1"),
    ),
)
OURS = """\
# rocks: begin - written by `rocks sync ib partitions`; lines above and below the two markers are yours
Default=0x7fff, ipoib : ALL=both, SELF=full ;
vc1=0x0002, ipoib : 0x000000000010000b=full ; # vmc-0-0 mlx4_0 port 1
vc1=0x0002 : 0x000000000010000d=full ; # vmc-0-1 mlx4_0 port 1
vc2=0x0003 : 0x000000000010000b=limited ; # vmc-0-0 mlx4_0 port 1
# rocks: end
"""


def test_the_generated_section() -> None:
    """Sorted by key, then GUID; without clusters that do not run; the first line of a partition has its flags."""
    assert generated_section(TABLE) == OURS
    silent = generated_section(TABLE._replace(default_membership="none"))
    assert "Default" not in silent
    assert silent.count("\n") == OURS.count("\n") - 1


def test_the_operators_lines_stay() -> None:
    mine = "# mine\nstorage=0x0100 : ALL=limited ;"
    first = with_section(mine, OURS)
    assert first == mine + "\n" + OURS
    edited = first + "after=0x0101 : SELF ;\n"
    other = generated_section(TABLE._replace(partitions=(), members=()))
    assert with_section(edited, other) == mine + "\n" + other + "after=0x0101 : SELF ;\n"
    assert with_section(with_section(edited, other), OURS) == edited
    assert with_section("", OURS) == OURS


@pytest.mark.parametrize(
    "text", ["# rocks: begin\n", "# rocks: end\n", OURS + OURS, "# rocks: end\n# rocks: begin\n"]
)
def test_edited_markers(text: str) -> None:
    with pytest.raises(StateError, match="are not exactly one pair"):
        with_section(text, OURS)


PORT = PortFact("mlx4_0", 1, "0002c90300a1b2c3", "4: ACTIVE", (0xFFFF, 0x8002, 0x8100))
RECORDED = [Port("vmc-0-0", "mlx4_0", 1, 0x0002C90300A1B2C3)]
FUNCTION = InfinibandVfFact("0000:03:00.1", "mlx4_0", 0, "index_map", (0x8002, 0x7FFF), "vm-red-0")
FREE = InfinibandVfFact("0000:03:00.2", "mlx4_0", 1, "index_map", (), "")
FACTS = InfinibandFacts((PORT,), (FUNCTION, FREE), ())


def check(
    facts: InfinibandFacts, recorded: list[Port] = RECORDED, keys: tuple[int, ...] = (0x8002,)
) -> list[SiteCheck]:
    """Two clusters, 2 and 3; vm-red-0 runs here under 2."""
    return check_host(facts, recorded, keys, {2, 3}, {"vm-red-0": 2})


def wrong(lines: list[SiteCheck]) -> list[str]:
    return [f"{line.subject}: {line.detail}" for line in lines if line.result == WRONG]


def test_a_host_in_order() -> None:
    """A key of nobody is the operator's own."""
    lines = check(FACTS)
    assert [line.result for line in lines] == [OK] * 4
    assert lines[0].detail == "0xffff 0x8002 0x8100"
    assert lines[2].detail == "of no machine: no key"
    assert ports_of_facts("vmc-0-0", FACTS) == RECORDED


def test_ports_that_are_not_as_recorded() -> None:
    assert wrong(check(FACTS, [])) == [
        "mlx4_0 port 1: 0x0002c90300a1b2c3 is not recorded: rocks sync host ibport"
    ]
    other = [RECORDED[0]._replace(guid=5), RECORDED[0]._replace(number=2)]
    assert wrong(check(FACTS, other)) == [
        "mlx4_0 port 1: is 0x0002c90300a1b2c3, recorded as 0x0000000000000005",
        "mlx4_0 port 2: recorded as 0x0002c90300a1b2c3, but not present",
    ]
    down = replace(FACTS, ports=(replace(PORT, state="1: DOWN"),))
    assert wrong(check(down)) == ["mlx4_0 port 1: is 1: DOWN: no cable, or no subnet manager"]
    assert wrong(check(InfinibandFacts((), (), ()), [])) == ["adapters: the host has no InfiniBand port"]


def test_keys_that_are_missing_or_of_others() -> None:
    facts = replace(FACTS, ports=(replace(PORT, keys=(0xFFFF, 0x0002, 0x8003)),))
    assert wrong(check(facts)) == [
        "mlx4_0 port 1: lacks 0x8002, has 0x0002, has 0x8003: rocks sync ib partitions"
    ]


def test_functions_that_show_what_they_must_not() -> None:
    for keys in ((0x8003,), (0x8002, 0x8003), (0xFFFF, 0x8002), ()):
        facts = replace(FACTS, vfs=(replace(FUNCTION, keys=keys),))
        (line,) = wrong(check(facts))
        assert line.startswith("mlx4_0 function 0000:03:00.1: of vm-red-0 sees ")
    unseen = replace(FACTS, vfs=(replace(FUNCTION, interface="netlink", keys=None),))
    assert check(unseen)[1].result == UNKNOWN


def test_departures_are_lines_of_their_own() -> None:
    lines = check(replace(FACTS, departures=("/sys/x says 'y'",)))
    assert wrong(lines) == ["kernel's files: /sys/x says 'y'"]
