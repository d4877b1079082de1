"""Tables and states of device-mapper: formatted and parsed, including unknown text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import IncoherentError, StateError
from rocks.storage.device_mapper.tables import (
    ErrorTable,
    KnownTable,
    Linear,
    OtherTable,
    Snapshot,
    SnapshotMerge,
    SnapshotStatus,
    check_switch,
    describe,
    devices_of,
    not_suspended,
    parse_status,
    parse_table,
    target_of,
    with_devices,
)

TABLES = [
    (Linear(8, "/dev/zd0"), ("linear", "/dev/zd0 0")),
    (Snapshot(8, "/dev/dm-0", "/dev/zd16"), ("snapshot", "/dev/dm-0 /dev/zd16 PO 16")),
    (SnapshotMerge(8, "/dev/dm-0", "/dev/zd16", 32, "P"), ("snapshot-merge", "/dev/dm-0 /dev/zd16 P 32")),
    (ErrorTable(8), ("error", "")),
    (OtherTable(8, "crypt", "a b"), ("crypt", "a b")),
]


@pytest.mark.parametrize(("table", "text"), TABLES)
def test_text_both_ways(table: KnownTable, text: tuple[str, str]) -> None:
    """What is loaded is what is read."""
    assert target_of(table) == text
    assert parse_table(8, *text) == table


@pytest.mark.parametrize(
    ("target_type", "parameters"),
    [
        ("linear", "230:0 8"),  # a part of a device, which nobody here makes
        ("linear", "230:0"),
        ("snapshot", "230:0 230:16 N 16"),
        ("snapshot", "230:0 230:16 PO 16 1 discard_zeroes_cow"),
        ("snapshot", "230:0 230:16 PO many"),
        ("snapshot-merge", ""),
        ("error", "1"),
        ("", ""),
    ],
)
def test_foreign_tables_are_unchanged(target_type: str, parameters: str) -> None:
    """Neither an error nor one of our tables."""
    assert parse_table(8, target_type, parameters) == OtherTable(8, target_type, parameters)


def test_a_snapshot_is_no_merge_of_the_same_devices() -> None:
    """Equal words, another kind."""
    assert Snapshot(8, "/dev/a", "/dev/b") != SnapshotMerge(8, "/dev/a", "/dev/b")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("32/73400320 32", (32, 73400320, 32, "ok")),
        ("9099712/73400320 17760", (9099712, 73400320, 17760, "ok")),
        ("Invalid", (0, 0, 0, "invalid")),
        ("Merge failed", (0, 0, 0, "merge_failed")),
        ("Overflow", (0, 0, 0, "overflow")),
        ("Unknown", (0, 0, 0, "unknown")),
        ("", (0, 0, 0, "unknown")),
        ("1/2", (0, 0, 0, "unknown")),
        ("1/2 3 4", (0, 0, 0, "unknown")),
        ("-1/2 3", (0, 0, 0, "unknown")),
        ("\u0661/2 3", (0, 0, 0, "unknown")),
    ],
)
def test_status(text: str, status: tuple[int, int, int, str]) -> None:
    """The three states in which upstream's parser failed, and others (specification, 5.1)."""
    assert parse_status(text) == status


def test_merged_is_when_only_metadata_is_left() -> None:
    """As the specification's two examples; never in a state of failure."""
    assert parse_status("32/73400320 32").is_merged
    assert not parse_status("9099712/73400320 17760").is_merged
    assert not parse_status("Merge failed").is_merged
    assert not parse_status("Invalid").is_merged


@given(st.text())
def test_no_status_and_no_table_is_an_error(text: str) -> None:
    """Whatever a kernel says, the answer is a record."""
    assert parse_status(text).state in ("ok", "unknown", "invalid", "merge_failed", "overflow")
    for kind in ("linear", "snapshot", "snapshot-merge", "error", text):
        assert parse_table(8, kind, text).length_sectors == 8


def test_devices_are_named_anew() -> None:
    """All of them, and nothing else changes."""
    names = {"/dev/a": "1:0", "/dev/b": "1:1"}
    assert with_devices(Linear(8, "/dev/a"), names.__getitem__) == Linear(8, "1:0")
    assert with_devices(Snapshot(8, "/dev/a", "/dev/b"), names.__getitem__) == Snapshot(8, "1:0", "1:1")
    assert with_devices(ErrorTable(8), names.__getitem__) == ErrorTable(8)
    assert devices_of(Snapshot(8, "/dev/a", "/dev/b")) == ("/dev/a", "/dev/b")
    assert devices_of(ErrorTable(8)) == ()


def test_described_for_an_operator() -> None:
    """As dmsetup would write it."""
    assert describe(None) == "no table"
    assert describe(ErrorTable(8)) == "8 sectors error"
    assert describe(Linear(8, "/dev/a")) == "8 sectors linear /dev/a 0"


# Which table may follow which below a running guest: every pair of kinds is a row.


MERGED = SnapshotStatus(32, 8192, 32, "ok")
LINEAR = Linear(8, "/dev/zd0")
ORIGIN = Linear(8, "/dev/dm-0")
SNAPSHOT = Snapshot(8, "/dev/dm-0", "/dev/zd16")
MERGE = SnapshotMerge(8, "/dev/dm-0", "/dev/zd16")
SHUT = ErrorTable(8)
OTHER = OtherTable(8, "crypt", "")
KINDS = [LINEAR, SNAPSHOT, MERGE, SHUT, OTHER]
ALLOWED = {
    (LINEAR, Linear(8, "/dev/zd32")),
    (SNAPSHOT, SNAPSHOT),
    (SNAPSHOT, MERGE),
    (MERGE, MERGE),
    (MERGE, LINEAR),
    (MERGE, ORIGIN),
}


@pytest.mark.parametrize(("live", "requested"), sorted(ALLOWED, key=str))
def test_what_may_follow(live: KnownTable, requested: KnownTable) -> None:
    """These, and no other pair."""
    assert check_switch("a", live, requested, MERGED, "/dev/zd0") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("live", "requested"),
    [
        (one, two)
        for one in KINDS
        for two in KINDS
        if (one, two) not in ALLOWED and (one, two) != (LINEAR, LINEAR)
    ],
)
def test_what_may_not_follow(live: KnownTable, requested: KnownTable) -> None:
    """Refused with a reason that names the device."""
    with pytest.raises(IncoherentError, match="/dev/mapper/a "):
        check_switch("a", live, requested, MERGED, "/dev/zd0")


@pytest.mark.parametrize("requested", [Snapshot, SnapshotMerge])
@pytest.mark.parametrize("devices", [("/dev/zd0", "/dev/zd16"), ("/dev/dm-0", "/dev/zd48")])
@pytest.mark.parametrize("live", [SNAPSHOT, MERGE])
def test_the_dangerous_order(
    live: KnownTable, requested: type[Snapshot | SnapshotMerge], devices: tuple[str, str]
) -> None:
    """Exceptions are handed over between tables of one origin and one COW only."""
    with pytest.raises(IncoherentError, match="would lose all writes after it is loaded"):
        check_switch("a", live, requested(8, *devices), MERGED, "/dev/zd0")


def test_store_and_chunks_stay() -> None:
    """They are handed over with the exceptions, whatever the new table says."""
    for requested in (
        SnapshotMerge(8, "/dev/dm-0", "/dev/zd16", 32),
        SnapshotMerge(8, "/dev/dm-0", "/dev/zd16", 16, "P"),
    ):
        with pytest.raises(IncoherentError, match="cannot change its mode PO and chunks of 16 sectors"):
            check_switch("a", SNAPSHOT, requested, MERGED, "/dev/zd0")


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        (SnapshotStatus(64, 8192, 32, "ok"), "32 sectors are left"),
        (SnapshotStatus(0, 0, 0, "merge_failed"), "the merge has stopped: merge_failed"),
        (SnapshotStatus(0, 0, 0, "invalid"), "has stopped: invalid"),
        (SnapshotStatus(0, 0, 0, "unknown"), "has stopped: unknown"),
        (None, "its status is unknown"),
    ],
)
def test_a_merge_that_has_not_ended(status: SnapshotStatus | None, progress: str) -> None:
    """Nobody goes on without what is still in the COW."""
    with pytest.raises(StateError, match=f"is not merged yet .*{progress}"):
        check_switch("a", MERGE, LINEAR, status, "/dev/zd0")


def test_the_length_stays() -> None:
    """An image is never mapped too short."""
    with pytest.raises(IncoherentError, match="has 8 sectors, but the new table 7"):
        check_switch("a", LINEAR, Linear(7, "/dev/zd0"), None, "")


def test_the_error_of_a_switch_that_was_aborted_has_a_remedy() -> None:
    assert str(not_suspended("vm-a-vol")).endswith("; try again when its storage responds faster")
