"""Notes of libvirt's hook that a machine has ended: a damaged one is logged once, and holds up no other."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.files import write_file
from rocks.fleet.wire.facts import DomainFact, DomainState
from rocks.storage.host import guests
from rocks.storage.host.guests import GuestState, ReleaseWatch, guest_state
from rocks.storage.image.image import HostImage
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.wire.messages import read_message
from tests.fakes.libvirt import FakeDomains


def releases_of(tmp_path: Path, state_of: Callable[[str], GuestState]) -> ReleaseWatch:
    """The notes of a host that has copies for the machines `a` and `b`."""
    store = HostStore(tmp_path / "host.db")
    for name in ("a", "b"):
        known = replace(HostImage(f"{name}-vol"), stage="linear")
        store.keep(CopyRecord(f"id-{name}", known, {"nas": "nas-0-0"}))
    (tmp_path / "released").mkdir()
    return ReleaseWatch(tmp_path / "released", store, threading.Event(), state_of)


@pytest.fixture
def watch(tmp_path: Path) -> ReleaseWatch:
    """Neither of the machines runs."""
    return releases_of(tmp_path, lambda name: "off")


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


def test_the_end_of_a_saved_machine_is_reported_when_it_continues_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while it is saved, nor when it runs again."""
    monkeypatch.setattr(guests, "_SAVED_ROUNDS", 1)
    states: dict[str, GuestState] = {"a": "saved", "b": "saved"}
    watch = releases_of(tmp_path, lambda name: states[name])
    notes = tmp_path / "released"
    for name in states:
        (notes / name).write_text("7")

    def look() -> tuple[list[str], int]:
        watch.look()
        return sorted(note.name for note in notes.iterdir()), len(watch._store.waiting(9))

    assert look() == look() == (["a", "b"], 0)
    states.update(a="off", b="running")
    assert look() == ([], 1)
    (sent,) = watch._store.waiting(9)
    fields = read_message(sent.body).fields
    assert (fields["released"], fields["token"]) == ("a-vol", 7)


def test_a_note_that_is_new_since_libvirt_was_asked_stays(tmp_path: Path) -> None:
    """The machine ran when it was asked, and has ended since: else its images were never written back."""
    notes, states = tmp_path / "released", iter(("running", "off"))

    def state_of(name: str) -> GuestState:
        state = next(states)
        if state == "running":
            write_file(notes / name, "8")
        return state  # type: ignore[return-value]

    watch = releases_of(tmp_path, state_of)
    write_file(notes / "a", "7")
    watch.look()
    assert (notes / "a").read_text() == "8" and not watch._store.waiting(9)
    watch.look()
    assert not list(notes.iterdir()) and read_message(watch._store.waiting(9)[0].body).fields["token"] == 8


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        ([("shutoff", False), ("shutoff", True)], "saved"),  # saved in between
        ([("shutoff", False), ("running", False)], "running"),  # continued in between
        ([("shutoff", False), ("shutoff", False)], "off"),
        ([("shutoff", True)], "saved"),
        ([("paused", True)], "running"),
        ([None], "off"),
    ],
)
def test_a_machine_has_ended_when_libvirt_says_so_twice(
    reports: list[tuple[DomainState, bool] | None], state: GuestState
) -> None:
    """libvirt reports the state and the managed save one after the other."""
    found = iter(reports)

    class Domains(FakeDomains):
        """Reports what the case says."""

        def find(self, name: str) -> DomainFact | None:
            report = next(found)
            if report is None:
                return None
            return DomainFact(name, "u", report[0], 7, 64, 1, False, True, report[1])

    assert guest_state(lambda: nullcontext(Domains()), "a") == state
