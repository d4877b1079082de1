"""The lease epoch of a host: starts under leases of an earlier epoch are refused (decision 31).

A cluster database that was restored begins a new epoch. A frontend that still works with the older copy has leases of
an earlier one.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from rocks.core.errors import StateError
from rocks.core.files import write_file
from rocks.fleet.host.records import RecordKind, damaged, read_text_record
from rocks.fleet.host.state_folder import Place, ensure_folder, locked
from rocks.fleet.wire.leases import epoch_of

_KIND = RecordKind(
    "the lease epoch of this host",
    "nothing starts here until it is moved away and `rocks sync vm lease` has been run on the frontend",
)
_START_SECONDS = 30.0
_RAISE_SECONDS = 5.0


class LeaseEpoch:
    """The epoch in the file `.epoch` beside the leases; no machine has a name that begins with a dot."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.LEASES.below(state_folder)
        self._path = Place.LEASE_EPOCH.below(state_folder)
        self._lock = Place.LEASE_EPOCH_LOCK.below(state_folder)

    def current(self) -> int:
        """The highest epoch seen; 0 without any. IncoherentError when the file is damaged; it is never waited for."""
        text = read_text_record(self._path, _KIND)
        if text is None:
            return 0
        if not re.fullmatch(r"[0-9]{1,10}\n", text):
            raise damaged(self._path, _KIND, f"{text[:20]!r} is not a number")
        return int(text)

    def raise_to(self, epoch: int) -> None:
        """Refuse starts under leases of earlier epochs from now on. BusyError while a start is in progress."""
        if epoch <= self.current():
            return
        with self._locked(shared=False, deadline_seconds=_RAISE_SECONDS):
            if epoch > self.current():
                ensure_folder(self._folder)
                write_file(self._path, f"{epoch}\n")

    @contextmanager
    def admitted(self, name: str, token: int) -> Iterator[None]:
        """A section that starts a machine; the epoch stays during it. StateError for a token of an earlier epoch."""
        with self._locked(shared=True, deadline_seconds=_START_SECONDS):
            current = self.current()
            if epoch_of(token) < current:
                raise StateError(
                    f"{name} was requested under lease {token} of lease epoch {epoch_of(token)}, but this host has "
                    f"seen epoch {current}: the cluster database was restored, and this request comes from an older "
                    f"copy or from before; run `rocks stop host vm {name}` and start it again"
                )
            yield

    @contextmanager
    def _locked(self, *, shared: bool, deadline_seconds: float) -> Iterator[None]:
        busy = "virtual machines are being started on this host; try again later"
        with locked(self._lock, shared=shared, deadline_seconds=deadline_seconds, busy=busy):
            yield
