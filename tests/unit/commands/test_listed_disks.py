"""Which disks of a running machine the list of machines takes for those of the record."""

import importlib

from rocks.machine.listing_records import DiskRow

FIRST, SECOND = DiskRow("file:/d/a,vda", 1, "/d/a"), DiskRow("file:/d/b,vdb", 2, "/d/b")


def listed(running: list[str]) -> list[str]:
    """The specifications in the list, of a machine with two disks that runs with these."""
    command = object.__new__(importlib.import_module("rocks.commands.list.host.vm").Command)
    command._in_json = False
    return [text for text, _ in command._disks([FIRST, SECOND], running)]


def test_a_disk_that_was_added_later_is_behind_that_for_cloud_init() -> None:
    assert listed(["/d/a", "/d/a.seed", "/d/b"]) == [FIRST.text, SECOND.text]


def test_other_disks_than_the_recorded_ones_are_named() -> None:
    assert listed(["/d/x", "/d/a.seed"]) == [f"{FIRST.text}(runs:/d/x)", f"{SECOND.text}(runs:none)"]
    assert listed(["/d/a", "/d/y"]) == [FIRST.text, f"{SECOND.text}(runs:/d/y)"]
