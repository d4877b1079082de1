"""Notes of libvirt's hook that a machine has ended: a damaged one is logged once, and holds up no other."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.imgstorage.host.releases import ReleaseWatch
from rocks.imgstorage.life.host_image import HostImage
from rocks.imgstorage.store.host import CopyRecord, HostStore


@pytest.fixture
def watch(tmp_path: Path) -> ReleaseWatch:
    """The notes of a host that has copies for the machines `a` and `b`; neither runs."""
    store = HostStore(tmp_path / "host.db")
    for name in ("a", "b"):
        known = replace(HostImage(f"{name}-vol"), stage="linear")
        store.keep(CopyRecord(f"id-{name}", known, {"nas": "nas-0-0"}))
    (tmp_path / "released").mkdir()
    return ReleaseWatch(tmp_path / "released", store, threading.Event(), lambda name: False)


@pytest.mark.parametrize("damage", ["folder", "FIFO", "bytes"])
def test_a_damaged_note(
    watch: ReleaseWatch, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    note = tmp_path / "released" / "a"
    if damage == "folder":
        (note / "inner").mkdir(parents=True)
    elif damage == "FIFO":
        os.mkfifo(note)
    else:
        note.write_bytes(b"\xff\xfe")
    (tmp_path / "released" / "b").write_text("7")
    with caplog.at_level(logging.WARNING):
        watch.look()
        watch.look()
    assert not (tmp_path / "released" / "b").exists(), "the other machine's end is reported"
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(note) in line and "remove it" in line
