"""Which table may follow which below a running guest: every pair of kinds is a row."""

import pytest

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
    not_suspended,
)

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
