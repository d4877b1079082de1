"""What image storage is asked in a dry run, and what is answered in its place."""

from typing import Any

import pytest

from rocks.core import dry_run
from rocks.core.errors import Code, StateError
from rocks.storage.client import Query, asking
from rocks.storage.client.asking import _STEPS, dry_answer
from rocks.storage.wire.messages import read_message, read_request
from rocks.storage.wire.replies import HeldRow, MadeVolume
from rocks.storage.wire.requests import (
    ACTIONS,
    AddZvol,
    CheckRequest,
    DelZvol,
    HoldSnapshot,
    MapZvol,
    SetZvolAttrs,
)


def ask(query: Query[Any]) -> None:
    """As a NAS that refuses what concerns the image `mapped`."""
    assert query.is_reading and isinstance(query.request, CheckRequest)
    request = read_request(read_message(query.request.message.encode()), "nas")
    if request.zvol == "mapped":
        raise StateError("ZVol mapped is mapped to vmh1", code=Code.IMAGE_MAPPED)


def ask_nothing(query: Query[Any]) -> None:
    raise AssertionError(query)


def test_every_request_that_changes_something_has_its_step() -> None:
    changing = {
        action.shape
        for action in ACTIONS.values()
        if not Query("n", object.__new__(action.shape), str).is_reading
    }
    assert set(_STEPS) == changing


def test_a_map_is_printed_and_its_device_taken_as_made(lines: list[str]) -> None:
    request = MapZvol("tank", "a-vol", "vmh1", "pool", 36, True, "iqn.x")
    device = dry_answer(asking.question("nas-0-0", request), ask_nothing)
    assert lines == ["nas-0-0: would map the image a-vol to vmh1, and copy it there"]
    assert dry_run.is_assumed("vmh1", device)


def test_what_the_nas_refuses_is_not_printed(lines: list[str]) -> None:
    for query in (
        asking.unmap_image("nas", "mapped"),
        asking.question("nas", DelZvol("tank", "mapped")),
    ):
        with pytest.raises(StateError) as refused:
            dry_answer(query, ask)
        assert refused.value.code is Code.IMAGE_MAPPED
    assert lines == []


def test_a_snapshot_that_the_same_dry_run_would_make_is_not_asked_for(lines: list[str]) -> None:
    made = dry_answer(asking.question("nas", HoldSnapshot("free", "tank", ("a",), False)), ask)
    assert isinstance(made, HeldRow)
    completed = HoldSnapshot("free", "tank", ("b",), False, made.guid)
    dry_answer(asking.question("nas", completed), ask_nothing)
    assert lines == [
        "nas: would have a snapshot of the image free, and hold it",
        "nas: would complete the snapshot of the image free",
    ]


def test_removals_and_settings_are_printed(lines: list[str]) -> None:
    assert dry_answer(asking.question("nas", DelZvol("tank", "free", grace_seconds=7200)), ask) is None
    assert dry_answer(asking.unmap_image("nas", "other"), ask) is None
    found = dry_answer(asking.question("nas", SetZvolAttrs("free", (("persistent", "no"),))), ask)
    assert found.persistent is False
    made = dry_answer(asking.question("nas", AddZvol("tank", "new", 7)), ask)
    assert isinstance(made, MadeVolume)
    assert lines == [
        "nas: would destroy the image free in 2 hours",
        "nas: would unmap the image other, and write its changes back",
        "nas: would set persistent=no of the image free",
        "nas: would make the volume tank/new",
    ]


def test_what_follows_a_transfer_is_not_known(lines: list[str]) -> None:
    with pytest.raises(dry_run.UnknownReplyError, match="the transfer of the content of new"):
        dry_answer(asking.question("nas", AddZvol("tank", "new", 7, importing=True)), ask)
    assert lines == ["nas: would make the volume tank/new"]
