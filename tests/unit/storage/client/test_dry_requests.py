"""What image storage is asked in a dry run, and what is answered in its place."""

from collections.abc import Callable
from typing import Any

import pytest

from rocks.core import dry_run
from rocks.core.errors import Code, StateError
from rocks.storage.client import Query, questions
from rocks.storage.client.dry_requests import _STEPS, dry_answer
from rocks.storage.wire.actions import ACTIONS
from rocks.storage.wire.replies import ImageRow, MadeVolume
from rocks.storage.wire.requests import AddZvol, DelZvol, MapZvol, SetZvolAttrs

FREE = ImageRow("free", "tank", "idle", "", remotehost=None)
MAPPED = ImageRow("mapped", "tank", "local", "", remotehost="vmh1")


def ask(query: Query[Any]) -> Any:
    assert query.is_reading
    return (FREE, MAPPED)


def test_every_request_that_changes_something_has_its_step() -> None:
    changing = {
        action.shape
        for action in ACTIONS.values()
        if not Query("n", object.__new__(action.shape), str).is_reading
    }
    assert set(_STEPS) == changing


def test_a_map_is_printed_and_its_device_taken_as_made(lines: list[str]) -> None:
    request = MapZvol("tank", "a-vol", "vmh1", "pool", 36, True, "iqn.x")
    device = dry_answer(questions.question("nas-0-0", request), ask)
    assert lines == ["nas-0-0: would map the image a-vol to vmh1, and copy it there"]
    assert dry_run.is_assumed("vmh1", device)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: questions.unmap_image("nas", "absent"), Code.IMAGE_UNKNOWN),
        (lambda: questions.unmap_image("nas", "free"), Code.IMAGE_NOT_MAPPED),
        (lambda: questions.question("nas", DelZvol("tank", "mapped")), Code.IMAGE_MAPPED),
        (lambda: questions.cancel_image("nas", "absent"), Code.IMAGE_UNKNOWN),
    ],
)
def test_an_image_that_is_not_as_needed_is_refused_as_by_its_nas(
    lines: list[str], make: Callable[[], Query[None]], code: Code
) -> None:
    with pytest.raises(StateError) as refused:
        dry_answer(make(), ask)
    assert refused.value.code is code
    assert lines == []


def test_removals_and_settings_are_printed(lines: list[str]) -> None:
    assert dry_answer(questions.question("nas", DelZvol("tank", "free", grace_seconds=7200)), ask) is None
    assert dry_answer(questions.unmap_image("nas", "mapped"), ask) is None
    found = dry_answer(questions.question("nas", SetZvolAttrs("free", (("persistent", "no"),))), ask)
    assert found.persistent is False
    made = dry_answer(questions.question("nas", AddZvol("tank", "new", 7)), ask)
    assert isinstance(made, MadeVolume)
    assert lines == [
        "nas: would destroy the image free in 2 hours",
        "nas: would unmap the image mapped, and write its changes back",
        "nas: would set persistent=no of the image free",
        "nas: would make the volume tank/new",
    ]


def test_what_follows_a_transfer_is_not_known(lines: list[str]) -> None:
    with pytest.raises(dry_run.UnknownReplyError, match="the transfer of the content of new"):
        dry_answer(questions.question("nas", AddZvol("tank", "new", 7, importing=True)), ask)
    assert lines == ["nas: would make the volume tank/new"]
