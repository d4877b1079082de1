"""A NAS with many images answers in several messages; the caller gets one list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rocks.core import dry_run
from rocks.core.errors import Code, HostError, StateError
from rocks.storage.bus import BusSettings, Delivery, Kind, NoAnswerError, RequestMessage, UndeliveredError
from rocks.storage.client import StorageClient, asking
from rocks.storage.client.asking import _STEPS, Query, dry_answer, images_of, initiator_of, unmap_image
from rocks.storage.nas.listing import first_page
from rocks.storage.wire.messages import read_message, read_request, write_error, write_success
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

NAMES = [f"vm-{number}" for number in range(7)]
ROWS = [{"zvol": name, "zpool": "tank", "state": "unmapped", "word": "unmapped"} for name in NAMES]


class NoQueues:
    """In place of a broker to which no daemon has ever connected."""

    def ask_all(
        self, questions: Mapping[str, RequestMessage], _seconds: float
    ) -> Iterator[tuple[str, UndeliveredError]]:
        for key, question in questions.items():
            yield key, UndeliveredError(f"there is no queue {question.to}")


class ManyImages:
    """In place of the broker and the NASes: three images in each message; the NAS `full` refuses."""

    messages = 0

    def ask_all(
        self, questions: Mapping[str, RequestMessage], _seconds: float
    ) -> Iterator[tuple[str, Delivery]]:
        for key, question in questions.items():
            self.messages += 1
            asked = read_message(question.body)
            behind = [row for row in ROWS if row["zvol"] > asked.fields["after"]]
            rows, has_more = first_page(behind, len(str(ROWS[0])) * 3 + 6)
            answer = write_success(asked.action, {"body": rows, "more": has_more})
            if key == "full":
                answer = write_error(asked.action, StateError("the pool is full"))
            yield key, Delivery(key, answer, "1", "1", None, Kind.REPLY)


def test_all_messages_of_each_nas_make_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    asker = ManyImages()
    monkeypatch.setattr(asking, "Asker", lambda _settings: asker)
    client = StorageClient(BusSettings("frontend", "192.0.2.1"))
    found = client.ask_each({name: images_of(name) for name in ("nas-0", "full", "nas-1")})
    for name in ("nas-0", "nas-1"):
        images = found[name]
        assert isinstance(images, tuple) and [image.zvol for image in images] == NAMES
    assert str(found["full"]) == "the pool is full"
    assert asker.messages == 3 + 2 + 2


@pytest.mark.parametrize(
    ("query", "kind"), [(initiator_of("head"), "VM containers"), (images_of("head"), "NASes")]
)
def test_a_node_without_a_daemon_is_named_with_what_starts_one(
    monkeypatch: pytest.MonkeyPatch, query: Query[object], kind: str
) -> None:
    """Tools map volumes to the frontend, which has no daemon of a host unless the site says so.

    A host with another purpose, whose name was given by mistake, is not to be made a NAS.
    """
    monkeypatch.setattr(asking, "Asker", lambda _settings: NoQueues())
    with pytest.raises(HostError, match="image storage has never run on head") as raised:
        StorageClient(BusSettings("frontend", "192.0.2.1")).ask(query)
    text = str(raised.value)
    assert f"rocks list host appliance shows which hosts are {kind}" in text
    for command in ("sync broker", "sync host profile head"):
        assert f"rocks {command}" in text
    assert ("rocks set host attr head img_storage_vm true" in text) == (kind == "VM containers")
    assert "img_storage_nas" not in text


class Silent:
    """In place of a broker whose NASes are silent."""

    def __init__(self) -> None:
        self.asked: dict[str, bool] = {}

    def ask_all(
        self, questions: Mapping[str, RequestMessage], _seconds: float
    ) -> Iterator[tuple[str, NoAnswerError]]:
        for key, question in questions.items():
            self.asked[read_message(question.body).action] = question.at_once
            yield key, NoAnswerError("nothing")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_wait_for_an_operation_distinguishes_a_silent_nas_from_a_busy_one(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    """It also asks what is answered at once; a terminal shows that this is not."""
    asker, lines = Silent(), list[str]()
    watcher = SimpleNamespace(displays_progress=is_terminal, progress=lines.append)
    monkeypatch.setattr(asking, "Asker", lambda _settings: asker)
    client = StorageClient(BusSettings("frontend", "192.0.2.1"))
    with pytest.raises(NoAnswerError):
        client.wait(unmap_image("nas-0", "vol"), 0.05, cast("Any", watcher))
    assert asker.asked == {"unmap_zvol": False, "list_operations": True}
    assert set(lines) == ({"nas-0 does not answer; waiting"} if is_terminal else set())


class Forgetful:
    """In place of a broker that has lost the question for the progress, as a dead letter of the NAS's queue."""

    def ask_all(
        self, questions: Mapping[str, RequestMessage], _seconds: float
    ) -> Iterator[tuple[str, Delivery]]:
        for key, question in questions.items():
            asked = read_message(question.body)
            if asked.action == "unmap_zvol":
                answer = write_success(asked.action, {"zvol": "vol"})
                yield key, Delivery(key, answer, "1", "1", None, Kind.REPLY)
        raise AssertionError("the caller would wait until its deadline, which may be a day")


def test_a_wait_ends_with_the_answer_to_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked beside it holds nobody up."""
    monkeypatch.setattr(asking, "Asker", lambda _settings: Forgetful())
    StorageClient(BusSettings("frontend", "192.0.2.1")).wait(unmap_image("nas-0", "vol"), 86400.0)


# What image storage is asked in a dry run, and what is answered in its place.


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
    device = dry_answer(asking.new_query("nas-0-0", request), ask_nothing)
    assert lines == ["nas-0-0: would map the image a-vol to vmh1, and copy it there"]
    assert dry_run.is_assumed("vmh1", device)


def test_what_the_nas_refuses_is_not_printed(lines: list[str]) -> None:
    for query in (
        asking.unmap_image("nas", "mapped"),
        asking.new_query("nas", DelZvol("tank", "mapped")),
    ):
        with pytest.raises(StateError) as refused:
            dry_answer(query, ask)
        assert refused.value.code is Code.IMAGE_MAPPED
    assert lines == []


def test_a_snapshot_that_the_same_dry_run_would_make_is_not_asked_for(lines: list[str]) -> None:
    made = dry_answer(asking.new_query("nas", HoldSnapshot("free", "tank", ("a",), False)), ask)
    assert isinstance(made, HeldRow)
    completed = HoldSnapshot("free", "tank", ("b",), False, made.guid)
    dry_answer(asking.new_query("nas", completed), ask_nothing)
    assert lines == [
        "nas: would have a snapshot of the image free, and hold it",
        "nas: would complete the snapshot of the image free",
    ]


def test_removals_and_settings_are_printed(lines: list[str]) -> None:
    assert dry_answer(asking.new_query("nas", DelZvol("tank", "free", grace_seconds=7200)), ask) is None
    assert dry_answer(asking.unmap_image("nas", "other"), ask) is None
    found = dry_answer(asking.new_query("nas", SetZvolAttrs("free", (("persistent", "no"),))), ask)
    assert found.persistent is False
    made = dry_answer(asking.new_query("nas", AddZvol("tank", "new", 7)), ask)
    assert isinstance(made, MadeVolume)
    assert lines == [
        "nas: would destroy the image free in 2 hours",
        "nas: would unmap the image other, and write its changes back",
        "nas: would set persistent=no of the image free",
        "nas: would make the volume tank/new",
    ]


def test_what_follows_a_transfer_is_not_known(lines: list[str]) -> None:
    with pytest.raises(dry_run.UnknownReplyError, match="the transfer of the content of new"):
        dry_answer(asking.new_query("nas", AddZvol("tank", "new", 7, importing=True)), ask)
    assert lines == ["nas: would make the volume tank/new"]
