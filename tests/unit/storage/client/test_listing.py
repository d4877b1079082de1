"""Answers of daemons as tables: states, times and cells."""

import datetime

import pytest

from rocks.core.errors import IncoherentError
from rocks.storage.client import listing
from rocks.storage.wire import replies
from rocks.storage.wire.replies import CopyRow, DeviceRow, ImageRow, OperationRow, SnapshotRow

NOW = 1_800_000_000
HOST = "vm-container-0-0"


def image(state: str, word: str, **more: object) -> ImageRow:
    return ImageRow("vm-vol", "tank", state, word, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (image("unmapped", "unmapped"), "unmapped"),
        (image("mapping", "mapped", remotehost=HOST), "mapped"),
        (image("mapped", "mapped", remotehost=HOST, is_sending=1, is_delete_remote=0), "NAS->VM"),
        (image("mapped", "mapped", remotehost=HOST), "mapped"),
        (image("remote", "mapped", remotehost=HOST), "mapped"),
        (image("seeding", "NAS->VM", remotehost=HOST, is_sending=1, is_delete_remote=0), "NAS->VM"),
        (image("switching", "mapped", remotehost=HOST), "mapped"),
        (image("local", "mapped", remotehost=HOST), "mapped"),
        (
            image("pulling", "NAS<-VM sched", remotehost=HOST, is_sending=0, is_delete_remote=0),
            "NAS<-VM sched",
        ),
        (image("returning", "NAS<-VM", remotehost=HOST, is_sending=0, is_delete_remote=1), "NAS<-VM"),
        (image("blocked", "blocked", remotehost=HOST), "blocked"),
        (image("deleting", "deleting"), "deleting"),
        (image("restoring", "restoring"), "restoring"),
        (image("growing", "growing"), "growing"),
    ],
    ids=lambda value: value.state if isinstance(value, ImageRow) else "",
)
def test_the_state_that_tools_read(row: ImageRow, word: str) -> None:
    assert listing.state_word(row) == word


def test_the_next_pull_is_printed_only_while_it_is_due() -> None:
    local = image("local", "mapped", remotehost=HOST, remotepool="tank", nextsync=NOW)
    pulling = image("pulling", "NAS<-VM sched", remotehost=HOST, nextsync=NOW, is_sending=0, time=NOW - 3725)
    assert listing.map_cells(local, NOW)[7] == listing.weekday_time(NOW)
    assert listing.map_cells(pulling, NOW)[6:8] == ("1:02:05", None)
    assert listing.map_cells(image("unmapped", "unmapped", nextsync=NOW), NOW)[7] is None


def test_locked_is_true_or_empty() -> None:
    assert listing.map_cells(image("mapping", "mapped", remotehost=HOST, locked="vm-vol"), NOW)[8] is True
    assert listing.map_cells(image("local", "mapped", remotehost=HOST), NOW)[8] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (-5, "0:00:00"),
        (59.6, "0:01:00"),
        (3599, "0:59:59"),
        (3600, "1:00:00"),
        (360_000, "100:00:00"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert listing.duration(seconds) == text


def test_weekdays_are_english_whatever_the_locale() -> None:
    week = [listing.weekday_time(NOW + day * 86400, datetime.UTC) for day in range(7)]
    assert week[0] == "Fri 08:00.00"
    assert sorted(text[:3] for text in week) == sorted(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))


def test_cells_of_operations_have_no_blanks() -> None:
    row = OperationRow(
        "1-2", "unmap_zvol", "vm-vol", HOST, "returning", 41.52, 1_700_000_000, 23_400_000, 100, ""
    )
    assert listing.operation_cells(row) == (
        *("1-2", "vm-vol", HOST, "returning", "41.5", 1_700_000_000, "23.4MB/s", "0:01:40", "unmap_zvol"),
        None,
    )
    assert listing.operation_cells(OperationRow("-", "seeding", "vm-vol"))[3:8] == (None,) * 5
    assert len(listing.OPERATIONS) == 1 + len(listing.operation_cells(row))


def test_a_copy_has_the_unit_of_a_mapping() -> None:
    row = CopyRow("tank/vm-vol", "copy", "nas-0-0", 2 * 1024**3)
    assert listing.copy_cells(row, NOW) == ("tank/vm-vol", "copy", "nas-0-0", "2.0", None, "")


def test_progress_for_people() -> None:
    row = OperationRow(
        "1", "unmap_zvol", "vm-vol", HOST, "returning", 41.52, 1_700_000_000, 23_400_000, 100, ""
    )
    assert listing.progress_line(row) == "vm-vol: returning 41.5 %, 1.6 GiB, 23.4 MB/s, 0:01:40 left"
    waiting = OperationRow(
        "1", "unmap_zvol", "vm-vol", HOST, "returning", reason="vm-container-0-0 is silent"
    )
    assert listing.progress_line(waiting) == "vm-vol: returning (vm-container-0-0 is silent)"


def test_each_row_has_as_many_cells_as_its_header() -> None:
    assert len(listing.MAPS) == 1 + len(listing.map_cells(image("local", "mapped"), NOW))
    assert len(listing.DEVICES) == 1 + len(listing.device_cells("vm-vol", DeviceRow(), NOW))
    assert len(listing.SNAPSHOTS) == 1 + len(listing.snapshot_cells(SnapshotRow("a", "1", "t", 1, 2, 0)))
    attributes = replies.ImageAttributes("vm-vol")
    assert len(listing.IMAGE_ATTRIBUTES) == len(listing.image_attribute_cells(attributes)) + 1


def test_a_device_that_is_being_merged() -> None:
    row = DeviceRow("sync", None, "vm-vol-snap", "snapshot-merge", 36, None, True, "32/73400320 32", NOW - 60)
    assert listing.device_cells("vm-vol", row, NOW) == (
        *("vm-vol", "sync", None, "vm-vol-snap", "snapshot-merge", 36, None, True, "32/73400320 32"),
        "0:01:00",
        None,
    )


@pytest.mark.parametrize("body", [None, {}, "x", [1], [{"zvol": "a"}], [{"zvol": 1, "zpool": "t"}]])
def test_an_answer_of_another_shape_is_an_error(body: object) -> None:
    with pytest.raises(IncoherentError):
        replies.read_rows(ImageRow, {"body": body})


def test_fields_of_a_newer_daemon_are_ignored() -> None:
    row = {"zvol": "a", "zpool": "tank", "state": "local", "word": "mapped", "moon": "full"}
    assert replies.read_rows(ImageRow, {"body": [row]}) == (ImageRow("a", "tank", "local", "mapped"),)
    assert replies.read_devices({"body": {"a": {"sync": "iscsi", "moon": 1}}}) == {"a": DeviceRow("iscsi")}


def test_attributes_of_an_image_and_names_by_volume() -> None:
    """What is no object is an answer that nobody understands."""
    row = {"zvol": "a", "frequency": 60, "nextsync": None, "persistent": False, "moon": "full"}
    assert replies.read_image_attributes({"body": row}) == replies.ImageAttributes("a", 60, persistent=False)
    assert replies.read_names({"body": {"a": "vm-0-0"}}) == {"a": "vm-0-0"}
    assert replies.read_attributes({"attrs": {"frequency": 60, "nextsync": None}}) == {
        "frequency": "60",
        "nextsync": None,
    }
    for body in (None, [], "a"):
        for read in (replies.read_image_attributes, replies.read_names, replies.read_devices):
            with pytest.raises(IncoherentError):
                read({"body": body})
        with pytest.raises(IncoherentError):
            replies.read_attributes({"attrs": body})
    with pytest.raises(IncoherentError):
        replies.read_names({"body": {"a": 1}})
