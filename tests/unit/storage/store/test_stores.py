"""Records of the daemons: complete after a restart, idempotent, and without parts of an aborted change."""

import os
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

import rocks
from rocks.core.errors import BusyError, IncoherentError, StateError, ToolError
from rocks.core.process import run_checked, start_with_pipes
from rocks.storage.bus import Delivery
from rocks.storage.daemon import when_recorded
from rocks.storage.image.effects import AskHost, EnsureVolume, LookAtCopy
from rocks.storage.image.image import Copy, Facts, HistoryPoint, HostImage, Image, Work
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.store.file import OutboxMessage, StoreFile
from rocks.storage.store.host import CopyRecord, HostStore, RequestRecord
from rocks.storage.store.nas import NasStore, Operation

IMAGE = Image(
    "id-1",
    "nas-0-0",
    "tank",
    "a-vol",
    state="mapping",
    epoch=3,
    copies=(Copy("vmc-0-0", "tank", "clean", "123"),),
    work=Work(
        "prepare",
        "3-4",
        (EnsureVolume("tank/a-vol", 5), AskHost("vmc-0-0", LookAtCopy("a-vol", None))),
        1,
        Facts(history=(HistoryPoint("1", 2),)),
    ),
)


def test_image_with_open_work_survives_a_restart(tmp_path: Path) -> None:
    """With its effects, facts and copies."""
    store = NasStore(tmp_path / "nas.db")
    store.save(IMAGE)
    store.save(replace(IMAGE, epoch=4))
    store.close()
    again = NasStore(tmp_path / "nas.db")
    assert again.images() == [replace(IMAGE, epoch=4)]
    assert (tmp_path / "nas.db").stat().st_mode & 0o777 == 0o600
    again.forget("id-1")
    assert again.images() == []


def test_operation_is_answered_once_and_to_the_last_requester(tmp_path: Path) -> None:
    """Beginning it again changes nothing; the answer goes to the queue of the last request."""
    store = NasStore(tmp_path / "nas.db")
    operation = Operation("op", "map_zvol", "a-vol", "head", "queue-1", 100, None)
    assert store.begin(operation)
    assert not store.begin(operation)
    store.redirect("op", "queue-2")
    store.answer("op", b"first")
    store.answer("op", b"second")
    assert [(one.destination, one.body) for one in store.waiting(9)] == [("queue-2", b"first")]
    known = store.operation("op")
    assert known.answer == b"first"
    assert store.open_operations() == []
    store.answer_again(known._replace(reply_to="queue-3"))
    assert [one.destination for one in store.waiting(9)] == ["queue-2", "queue-3"]


def test_outbox_messages_stay_in_order_until_they_are_sent(tmp_path: Path) -> None:
    """A message with the same id is the same."""
    store = NasStore(tmp_path / "nas.db")
    for number in ("b", "a", "b"):
        store.post(OutboxMessage(number, "queue", "request", None, "mine", number.encode()))
    assert [one.message_id for one in store.waiting(9)] == ["b", "a"]
    assert [one.message_id for one in store.waiting(1)] == ["b"]
    store.sent("b")
    assert store.unsent("b") is None
    assert [one.message_id for one in store.waiting(9)] == ["a"]


def test_settings_and_secrets(tmp_path: Path) -> None:
    """Cleared ones read as None; only the secrets of the current epoch are stored."""
    store = NasStore(tmp_path / "nas.db")
    store.set_attribute_of("a-vol", "frequency", 60)
    store.set_attribute_of("a-vol", "uploadspeed", "5M")
    store.set_attribute_of("a-vol", "frequency", None)
    expected = {"frequency": None, "nextsync": None, "downloadspeed": None, "uploadspeed": "5M"}
    assert store.attributes_of("a-vol") == expected
    assert store.all_attributes() == {"a-vol": expected}
    store.set_attribute("frequency", "300")
    store.set_attribute("note", None)
    assert store.attributes() == {"frequency": "300", "note": None}
    store.forget_attributes(("note", "never-set"))
    assert store.attributes() == {"frequency": "300"}
    store.store_secrets("id-1", 1, ChapSecrets("a", "b", "c", "d"))
    store.store_secrets("id-1", 2, ChapSecrets("e", "f", "g", "h"))
    assert store.secrets("id-1", 1) is None
    assert store.secrets("id-1", 2) == ChapSecrets("e", "f", "g", "h")


def test_aborted_change_leaves_nothing(tmp_path: Path) -> None:
    """All of a transaction or nothing, also of a nested one."""
    store = NasStore(tmp_path / "nas.db")
    with pytest.raises(KeyError), store.transaction():
        store.save(IMAGE)
        with store.transaction():
            store.post(OutboxMessage("a", "queue", "request", None, None, b""))
        raise KeyError
    assert store.images() == []
    assert store.waiting(9) == []


def test_host_remembers_stages_and_answers(tmp_path: Path) -> None:
    """Requests in order, its parts of images, its answers."""
    store = HostStore(tmp_path / "host.db")
    copy = CopyRecord("id-1", HostImage("a-vol", "tank", epoch=3, stage="overlay"), {"nas": "nas-0-0"})
    store.keep(copy)
    for number in ("id-1.3-5", "id-1.3-4"):
        assert store.begin(RequestRecord(number, "nas-0-0", "a-vol", b"body", None, 1, "d"))
    assert not store.begin(RequestRecord("id-1.3-4", "nas-0-0", "a-vol", b"other", None, 2, "e"))
    store.close()
    again = HostStore(tmp_path / "host.db")
    assert again.copies() == [copy]
    assert [request.op_id for request in again.open_requests()] == ["id-1.3-5", "id-1.3-4"]
    again.answer("id-1.3-5", "img-storage.nas.nas-0-0", b"done")
    assert [request.op_id for request in again.open_requests()] == ["id-1.3-4"]
    assert [(one.destination, one.body) for one in again.waiting(9)] == [("img-storage.nas.nas-0-0", b"done")]


def test_records_of_a_newer_release_are_an_error(tmp_path: Path) -> None:
    NasStore(tmp_path / "later.db").close()
    with sqlite3.connect(tmp_path / "later.db") as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(IncoherentError, match="have version 99, and this daemon has 1: upgrade it"):
        NasStore(tmp_path / "later.db")


_HOLDER = """
import sys, time
from pathlib import Path
from typing import cast
from rocks.storage.store.nas import NasStore
store = NasStore(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(600)
"""


def test_a_second_daemon_on_the_same_records_does_not_start(tmp_path: Path) -> None:
    """It ends with a message; when the first one is killed, the next one starts."""
    path = tmp_path / "nas.db"
    environment = {**os.environ, "PYTHONPATH": str(Path(rocks.__file__).parents[1])}
    arguments = [sys.executable, "-c", _HOLDER, str(path)]
    with start_with_pipes(arguments, environment) as first:
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(
            StateError, match=rf"another daemon uses the records in .*\(process {first.pid}\)"
        ):
            NasStore(path)
        first.kill()
    NasStore(path).close()


def test_records_are_free_after_they_could_not_be_used(tmp_path: Path) -> None:
    """The lock of an opening that has failed is released."""
    path = tmp_path / "nas.db"
    path.write_text("hello " * 1000, encoding="ascii")
    with pytest.raises(ToolError):
        NasStore(path)
    path.unlink()
    NasStore(path).close()


@pytest.mark.parametrize("damage", ["folder", "file above", "text", "lock is a folder"])
def test_unusable_records_are_named_with_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "imgstorage" / "nas.db"
    if damage == "file above":
        path.parent.write_text("")
    elif damage == "lock is a folder":
        path.with_name("nas.db.lock").mkdir(parents=True)
    elif damage == "folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_text("no database " * 1000)
    with pytest.raises(ToolError, match=r"; .*mv /") as raised:
        NasStore(path)
    assert str(path) in str(raised.value)


@pytest.mark.system
def test_records_on_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    run_checked(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], deadline_seconds=10)
    try:
        store = NasStore(folder / "nas.db")
        with pytest.raises(ToolError, match=f"free space on that file system .df -h {folder}.") as raised:
            for number in range(2000):
                store.save(replace(IMAGE, image_id=f"id-{number}", zvol=f"vol-{number}"))
        assert str(folder / "nas.db") in str(raised.value)
        store.close()
    finally:
        run_checked(["umount", "-l", str(folder)], deadline_seconds=10)


def test_a_message_waits_while_the_records_are_full(tmp_path: Path) -> None:
    """As a dead letter it would be lost: nobody sends again that a machine has ended."""
    store = StoreFile(tmp_path / "records.db", "")
    store.rows(f"PRAGMA max_page_count = {store.rows('PRAGMA page_count')[0][0]}")
    message = OutboxMessage("one", "queue", "news", None, None, bytes(10**6))
    delivery = cast("Delivery", None)
    handle = when_recorded(lambda _: store.post(message))
    with pytest.raises(BusyError, match="database or disk is full; free space"):
        handle(delivery)
    store.rows("PRAGMA max_page_count = 100000")
    handle(delivery)
    assert store.unsent("one") == message
    store.close()
