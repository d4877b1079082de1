"""Records and messages of earlier and later releases: read with defaults, or rejected with the versions."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.host.engine import HostEngine, HostWorkers
from rocks.storage.image.effects import HostRequest
from rocks.storage.image.events import Restarted
from rocks.storage.image.image import Decision, Facts, HostImage, Image
from rocks.storage.image.states import STATES
from rocks.storage.nas.hosts import event_of
from rocks.storage.nas.sequences import MACHINE
from rocks.storage.store.file import RECORD_VERSION
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.store.nas import NasStore
from rocks.storage.wire.messages import (
    HOST_ANSWER,
    HOST_REQUEST,
    VERSION,
    NewerVersionError,
    read_message,
    write_message,
)
from tests.unit.storage.records import NOW, record

STORED = sorted((Path(__file__).parent / "stored").glob("release-*.json"))
"""What each release has stored and sent, recorded with that release; never changed afterwards."""


def with_image(store: NasStore, path: Path, stored: dict[str, Any]) -> Image:
    """The image as the store reads a record that another release has written."""
    store.save(record("unmapped"))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE images SET record = ?", (json.dumps(stored),))
    (found,) = store.images()
    return found


def test_a_release_is_recorded() -> None:
    """Every state, every request and every stage of it."""
    assert STORED
    for path in STORED:
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert {image["state"] for image in stored["images"]} == set(STATES)
        assert len({request["shape"] for request in stored["requests"]}) == 13
        assert {host["stage"] for host in stored["host_records"]} == {
            "none",
            "overlay",
            "merging",
            "linear",
            "remote",
        }


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_records_of_every_release_are_read(path: Path, tmp_path: Path) -> None:
    """An image goes on with its open step; a host's record has its stage."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    store = NasStore(tmp_path / "nas.db")
    for old in stored["images"]:
        image = with_image(store, tmp_path / "nas.db", old)
        assert (image.state, image.epoch, image.owner) == (old["state"], old["epoch"], old["owner"])
        assert (image.work is None) == (old["work"] is None)
        if image.work is not None:
            assert len(image.work.effects) == len(old["work"]["effects"])
        assert isinstance(MACHINE.decide(image, Restarted(), NOW), Decision)
    for old in stored["host_records"]:
        known = decode_lenient(HostImage, old, "copy")
        assert (known.stage, known.epoch, known.last_sequence) == (old["stage"], 3, 4)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_messages_of_every_release_are_read(path: Path) -> None:
    """Requests by a host of this release, answers by a NAS of this release."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    for request in stored["requests"]:
        found = decode_lenient(HostRequest, request, "request")
        assert type(found).__name__ == request["shape"]
    for facts in stored["answers"]:
        body = write_message(HOST_ANSWER, {"status": "success", "facts": facts}, op_id="1.3-4", epoch=3)
        assert event_of(read_message(body), "vmh1")[0] == "1"
        assert isinstance(decode_lenient(Facts, facts, "facts"), Facts)


def test_the_first_release_reads_what_this_one_sends() -> None:
    """Requests and answers have the fields of then: either side may be upgraded first.

    A new field must be one that such a node may ignore, or be part of another message.
    """
    stored = json.loads((Path(__file__).parent / "stored" / "release-0.1.json").read_text(encoding="utf-8"))
    for request in stored["requests"]:
        assert encode(decode_lenient(HostRequest, request, "request")) == request
    for facts in stored["answers"]:
        assert encode(decode_lenient(Facts, facts, "facts")) == facts


def test_a_missing_field_has_its_default_and_an_unknown_one_is_ignored(tmp_path: Path) -> None:
    """Two releases of one version differ only in such fields, at every depth."""
    path = tmp_path / "nas.db"
    store = NasStore(path)
    stored = json.loads(STORED[0].read_text(encoding="utf-8"))["images"][1]
    assert stored["work"] is not None
    for field in ("abandon_reason", "covered_ids", "retry_at"):
        del stored[field]
    stored["work"]["effects"][0]["later"] = stored["later"] = {"of": "another release"}
    image = with_image(store, path, stored)
    assert (image.abandon_reason, image.covered_ids, image.retry_at) == ("", (), None)


def test_a_record_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    """With both versions; nothing of it is misread."""
    path = tmp_path / "nas.db"
    text = (
        f"the record of vm-vol has version {RECORD_VERSION + 1}, and this daemon reads up to {RECORD_VERSION}"
    )
    with pytest.raises(IncoherentError, match=text):
        with_image(NasStore(path), path, {"v": RECORD_VERSION + 1, "image_id": "1"})
    host = HostStore(tmp_path / "host.db")
    host.keep(CopyRecord("1", HostImage("vm-vol"), {}))
    with sqlite3.connect(tmp_path / "host.db") as file:
        file.execute("UPDATE copies SET record = ?", (json.dumps({"v": RECORD_VERSION + 1}),))
    with pytest.raises(IncoherentError, match=text):
        host.copies()


@pytest.mark.parametrize(
    "request_fields",
    [{"shape": "TurnIntoGold", "zvol": "vm-vol"}, {"shape": "LookAtCopy", "pool": "tank"}],
    ids=["another request", "a required field is missing"],
)
def test_a_request_of_another_release_is_answered(
    tmp_path: Path, request_fields: dict[str, str | None]
) -> None:
    """As a failure that is tried again: the NAS reports it, instead of waiting in silence."""
    store = HostStore(tmp_path / "host.db")
    engine = HostEngine(store, lambda effect, image: pytest.fail("it performs nothing"))
    workers = HostWorkers(store, engine)
    fields = {"request": request_fields, "nas": "nas-0-0"}
    body = write_message(HOST_REQUEST, fields, op_id="1.3-4", image_id="1", epoch=3)
    workers.take(read_message(body), "nas-0-0", body)
    workers.close()
    (sent,) = store.waiting(9)
    answer = read_message(sent.body)
    assert (answer.op_id, answer.fields["family"]) == ("1.3-4", "host")
    assert "install the release of nas-0-0 on this host" in answer.fields["error"]


def test_a_message_of_a_higher_version_still_has_an_address() -> None:
    """So it can be answered: the envelope is the same in all versions."""
    body = json.dumps(
        {"v": VERSION + 1, "action": HOST_REQUEST, "op_id": "1.3-4", "image_id": "1", "epoch": 3}
    )
    with pytest.raises(NewerVersionError, match="upgrade this side") as raised:
        read_message(body.encode())
    assert raised.value.message.op_id == "1.3-4"
