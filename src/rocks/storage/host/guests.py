"""The guests of images: what libvirt says of them, and machines that have ended on this host."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Callable, ContextManager, Dict, Literal, Optional, Protocol, Set, Tuple

from rocks.core.errors import RocksError
from rocks.core.periodic import PeriodicThread
from rocks.fleet.host.state_folder import (
    RecordKind,
    ensure_folder,
    read_text_record,
    record_names,
    remove_record,
)
from rocks.fleet.wire.facts import DomainFact
from rocks.storage.store.host import HostStore

GuestState = Literal["running", "saved", "off"]
"""`saved`: it is off, and its memory, which belongs to its disks, is in a managed save."""

_MACHINE = re.compile(r"(.+)-vol[0-9]*\Z")


class Guests(Protocol):
    """The guests of this host, as libvirt has them: of `machine.host.libvirt.driver`, what image storage needs."""

    def find(self, name: str) -> Optional[DomainFact]:
        """The fact of one domain, None when there is none of that name."""

    def suspend(self, name: str) -> None:
        """Pause a running guest."""

    def resume(self, name: str) -> None:
        """Resume a paused guest, also one that suspended itself."""

    def is_stopped_by_disk(self, name: str) -> bool:
        """Whether QEMU has paused the guest because its disk failed an access, which `resume` repeats."""


OpenGuests = Callable[[], ContextManager[Guests]]


def machine_of(zvol: str) -> Optional[str]:
    """The virtual machine of an image, by the volume's name."""
    match = _MACHINE.match(zvol)
    return None if match is None else match.group(1)


def guest_state(open_domains: OpenGuests, machine: str) -> GuestState:
    """The state of a machine. HostError or ToolError when libvirt does not report it."""
    with open_domains() as domains:
        # libvirt reports state and managed save one after the other: a save may be made or used in between
        for _ in range(2):
            fact = domains.find(machine)
            if fact is None:
                return "off"
            if fact.state not in ("shutoff", "crashed"):
                return "running"
            if fact.has_managed_save:
                return "saved"
    return "off"


# --- machines that have ended: libvirt's hook writes notes, and their NASes unmap the images -------------------------
# The note of a machine whose memory was saved stays until it continues, or what was saved is discarded.
#
# libvirt's hook leaves a file with the name of a machine that has ended; the daemon turns it into a message to
# the NAS of each image, which takes the image back if this host has it under the present epoch. The way over
# the frontend was refused: one more party that may be away, with a right to unmap anything. So was unmapping in
# `rocks stop host vm` alone: guests end by themselves.


_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_SAVED_ROUNDS = 5
"""libvirt is asked about a saved machine in every so many rounds."""
_KIND = RecordKind(
    "the note that a machine has ended",
    "remove it; `rocks remove host storagemap` on the frontend writes the image back",
)


class ReleaseWatch(PeriodicThread):
    """One thread that reads the notes; a note is deleted when its message is recorded."""

    def __init__(
        self, folder: Path, store: HostStore, posted: threading.Event, state_of: Callable[[str], GuestState]
    ) -> None:
        """`state_of` reports what a machine does now; the note of one that runs again is only deleted."""
        failure = "machines that have ended could not be reported"
        super().__init__("releases", _LOOK_SECONDS, self.look, failure)
        self._folder = folder
        self._store = store
        self._posted = posted
        self._state_of = state_of
        self._rounds = 0
        self._saved: Set[str] = set()
        self._failures: Dict[str, str] = {}
        """Machine → why its note cannot be used, as it was logged."""

    def start(self) -> None:
        """Make the folder, and begin. HostError when that fails."""
        ensure_folder(self._folder)
        super().start()

    def look(self) -> None:
        """One round."""
        failures: Dict[str, str] = {}
        self._rounds += 1
        for name in record_names(self._folder):
            if name in self._saved and self._rounds % _SAVED_ROUNDS:
                continue
            try:
                self._take(name)
            except RocksError as error:  # the other machines' notes are taken
                failures[name] = str(error)
                if self._failures.get(name) != failures[name]:
                    _log.warning("the end of %s could not be reported: %s", name, error)
        self._failures = failures

    def _take(self, name: str) -> None:
        mapped = [copy for copy in self._store.copies() if copy.known.stage != "none"]
        images = [copy for copy in mapped if machine_of(copy.known.zvol) == name]
        note = self._folder / name
        seen = _file_of(note)
        state = self._state_of(name) if images else "off"
        if state == "saved":
            self._saved.add(name)
            return
        self._saved.discard(name)
        if images and state == "off":
            token = _lease_of(note)
            with self._store.transaction():
                for copy in images:
                    fields = {"released": copy.known.zvol, "token": token}
                    self._store.report(str(copy.details["nas"]), fields, copy.image_id, copy.known.epoch)
            self._posted.set()
            _log.info("%s has ended: its images are written back", name)
        if _file_of(note) == seen:  # it may have been started meanwhile, and have ended again
            remove_record(note)


def _file_of(note: Path) -> Optional[Tuple[int, int]]:
    """Which file has the note's name now: each end makes a new one."""
    try:
        found = note.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _lease_of(note: Path) -> Optional[int]:
    """The lease under which the machine ran; None when it had none."""
    text = read_text_record(note, _KIND) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else None
