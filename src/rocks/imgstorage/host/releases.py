"""Machines that have ended on this host: libvirt's hook writes notes, and their NASes unmap the images."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from pathlib import Path
from typing import Callable, Optional

from rocks.errors import RocksError
from rocks.imgstorage.store.file import OutboxMessage
from rocks.imgstorage.store.host import CopyRecord, HostStore
from rocks.wire.imgstorage_messages import HOST_NEWS, write_message
from rocks.wire.queues import nas_queue

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class ReleaseWatch:
    """One thread that reads the notes; a note is deleted when its message is recorded."""

    def __init__(
        self, folder: Path, store: HostStore, posted: threading.Event, is_running: Callable[[str], bool]
    ) -> None:
        """`is_running` reports whether a machine runs again; then its note is only deleted."""
        self._folder = folder
        self._store = store
        self._posted = posted
        self._is_running = is_running
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="releases", daemon=True)

    def start(self) -> None:
        """Make the folder, and begin."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.look()
            except (RocksError, OSError) as error:
                _log.warning("machines that have ended could not be reported: %s", error)
            except Exception:  # noqa: BLE001 - the watch must survive its own faults
                _log.exception("a fault in reporting ended machines; please report this")

    def look(self) -> None:
        """One round."""
        for note in sorted(self._folder.iterdir()):
            if note.name.startswith("."):
                continue  # it is being written
            images = [copy for copy in self._store.copies() if self._is_of(copy, note.name)]
            if images and not self._is_running(note.name):
                token = _lease_of(note)
                with self._store.transaction():
                    for copy in images:
                        self._report(copy, token)
                self._posted.set()
                _log.info("%s has ended: its images are written back", note.name)
            note.unlink()

    def _is_of(self, copy: CopyRecord, machine: str) -> bool:
        return copy.known.stage != "none" and bool(
            re.fullmatch(re.escape(machine) + r"-vol[0-9]*", copy.known.zvol)
        )

    def _report(self, copy: CopyRecord, token: Optional[int]) -> None:
        fields = {"released": copy.known.zvol, "token": token}
        body = write_message(HOST_NEWS, fields, image_id=copy.image_id, epoch=copy.known.epoch)
        self._store.post(
            OutboxMessage(str(uuid.uuid4()), nas_queue(str(copy.details["nas"])), "request", None, None, body)
        )


def _lease_of(note: Path) -> Optional[int]:
    """The lease under which the machine ran; None when it had none."""
    text = note.read_text(errors="replace")
    return int(text) if text.isascii() and text.isdigit() else None
