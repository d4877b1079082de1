"""Hosts that are silent: expected after their first heartbeat, reported once, and nothing is done to their images."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.storage.host.service import Heartbeats
from rocks.storage.image.image import HostImage, Image
from rocks.storage.limits import LOST_SECONDS
from rocks.storage.nas.hosts import HostPresence
from rocks.storage.store.host import CopyRecord, HostStore, RequestRecord
from rocks.storage.store.nas import NasStore

HOST = "vmc-0-0"
IMAGE = Image("id", "nas-0-0", "tank", "a-vol", state="local", owner=HOST)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_host_is_lost_after_five_missing_heartbeats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that has never sent any is not; after a restart the time begins anew."""
    caplog.set_level(logging.INFO)
    clock, store = Clock(), NasStore(tmp_path / "nas.db")
    presence = HostPresence(store, clock)
    presence.note("vmc-0-1")
    presence.note(HOST, is_heartbeat=True)
    clock.seconds += LOST_SECONDS - 1
    assert presence.silent_seconds(HOST) is None
    clock.seconds += 1
    assert presence.silent_seconds(HOST) == LOST_SECONDS
    assert presence.silent_seconds("vmc-0-1") is None and presence.silent_seconds(None) is None
    for _ in range(2):
        presence.look([IMAGE, replace(IMAGE, image_id="2", owner="vmc-0-1")])
    assert caplog.text.count("has been silent for 150 s; if it is lost, power it off") == 1
    presence.note(HOST)
    presence.look([IMAGE])
    assert presence.silent_seconds(HOST) is None and f"{HOST} is back" in caplog.text
    again = HostPresence(store, clock)
    assert again.silent_seconds(HOST) is None
    clock.seconds += LOST_SECONDS
    assert again.silent_seconds(HOST) == LOST_SECONDS


def test_a_host_sends_heartbeats_to_the_nases_of_its_images(tmp_path: Path) -> None:
    """One message waits at most, however long the broker is away."""
    store = HostStore(tmp_path / "host.db")
    for zvol, nas, stage in (
        ("a-vol", "nas-0-0", "linear"),
        ("b-vol", "nas-0-0", "overlay"),
        ("c-vol", "nas-0-1", "none"),
    ):
        known = HostImage(zvol, "tank", stage=stage)  # type: ignore[arg-type] # of the stages
        store.keep(CopyRecord(zvol, known, {"nas": nas}))
    beats = Heartbeats(store, threading.Event())
    beats.beat()
    beats.beat()
    (waiting,) = store.waiting(9)
    assert waiting.destination.endswith("nas-0-0") and b'"alive":true' in waiting.body
    store.sent(waiting.message_id)
    beats.beat()
    assert [one.message_id != waiting.message_id for one in store.waiting(9)] == [True]


def test_a_host_that_writes_an_image_back_sends_heartbeats(tmp_path: Path) -> None:
    """Its stage is none before the transfer begins; without work, the NAS expects nothing of it."""
    store = HostStore(tmp_path / "host.db")
    store.keep(CopyRecord("id", HostImage("a-vol", "tank", stage="none"), {"nas": "nas-0-0"}))
    beats = Heartbeats(store, threading.Event())
    beats.beat()
    assert store.waiting(9) == []
    store.begin(RequestRecord("1-2-return", "nas-0-0", "a-vol", b"{}", None, 1, "d"))
    beats.beat()
    (waiting,) = store.waiting(9)
    assert waiting.destination.endswith("nas-0-0")
    store.sent(waiting.message_id)
    store.answer("1-2-return", "elsewhere", b"{}")
    beats.beat()
    assert not [one for one in store.waiting(9) if one.destination.endswith("nas-0-0")]
