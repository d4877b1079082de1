"""Leases on a host: the lowest token that may still start each machine here, and the lease epoch (decision 31)."""

from __future__ import annotations

import contextlib
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Tuple

from rocks.core.errors import HostError, IncoherentError, StateError, UserError
from rocks.core.files import explain, open_plain, write_file
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    locked,
    read_start,
    read_text_record,
)
from rocks.fleet.wire.facts import LeaseFact, epoch_of

# Leases on a host: the lowest token that may still start each virtual machine here.
#
# A domain runs under the token in its XML. A domain with a lower token than the stored one belongs to a lease that has
# ended or was taken over, and must not start on this host. A stop stores the token above its own, so that a start which
# is late (its agent waited for the lock, was stopped or is a repetition) is refused.


# one path component, not hidden, and not the name of a lock file
_NAME = re.compile(r"(?!.*\.lock\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_LONGEST_BYTES = 20


class Leases:
    """Tokens in the folder `leases` of the state folder, a file for each virtual machine."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.LEASES.below(state_folder)

    @contextmanager
    def held(self, name: str, deadline_seconds: float) -> Iterator[None]:
        """Lock a virtual machine against other requests on this host. BusyError when the deadline passes."""
        path = self._path(check_name(name))
        lock = path.with_name(path.name + ".lock")
        busy = (
            f"another command is working on {name} on this host, or one that was interrupted: a shutdown may take its "
            "timeout; try again then"
        )
        with locked(lock, shared=False, deadline_seconds=deadline_seconds, busy=busy):
            yield

    def remembered(self, name: str) -> Optional[int]:
        """The lowest token that may start the machine here, or None. IncoherentError for a corrupt file."""
        path = self._path(check_name(name))
        try:
            text = read_start(path, _LONGEST_BYTES + 1).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._corrupt(name, explain(error, path)) from None
        if not re.fullmatch(r"[0-9]{1,19}\n", text):
            raise self._corrupt(name, repr(text))
        return int(text)

    def facts(self) -> Tuple[LeaseFact, ...]:
        """All that are remembered, by name; corrupt files are left out."""
        found = []
        for name in sorted(path.name for path in self._folder.glob("*") if _NAME.match(path.name)):
            with contextlib.suppress(IncoherentError):
                token = self.remembered(name)
                found += [] if token is None else [LeaseFact(name, token)]
        return tuple(found)

    def admit(self, name: str, token: int) -> None:
        """Store a token that is higher than all before. Errors as `check`.

        The caller holds the lock of the virtual machine.
        """
        known = self.check(name, token)
        if known is None or token > known:
            self._store(name, token)

    def check(self, name: str, token: int) -> Optional[int]:
        """The lowest admitted token, None without one. StateError for a token below it."""
        known = self.remembered(name)
        if known is not None and token < known:
            raise StateError(
                f"{name} was requested under lease {token}, but this host has seen lease {known}: "
                "the virtual machine was stopped or taken over in the meantime"
            )
        return known

    def check_end(self, name: str, token: int) -> None:
        """StateError when the machine has had a lease above `token` here; a lease that has ended may end again.

        A corrupt file does not prevent the end of a lease, which replaces it.
        """
        try:
            known = self.remembered(name)
        except IncoherentError:
            return
        if known is not None and known > token + 1:
            raise StateError(
                f"{name} was to end under lease {token}, but this host has seen lease {known}, a later lease or epoch; "
                f"rocks list host vm {name} status=yes shows where it runs"
            )

    def end(self, name: str, token: int) -> None:
        """Admit neither this lease nor an older one from now on. A corrupt file is replaced.

        The caller holds the lock of the virtual machine. `token` comes from the database, which grants no higher one
        before the end is recorded.
        """
        try:
            known = self.remembered(name)
        except IncoherentError:
            self._quarantine(name)
            known = None
        if known is None or known <= token:
            self._store(name, token + 1)

    def _store(self, name: str, token: int) -> None:
        """Replace the file. On a file system without space it is rewritten in place: a stop needs none."""
        ensure_folder(self._folder)
        path, text = self._path(name), f"{token}\n"
        try:
            write_file(path, text)
        except HostError:
            if not _rewrite(path, text.encode("ascii")):
                raise

    def _quarantine(self, name: str) -> None:
        """Rename what is in the place of the file. The new name is hidden, so it is not that of a machine."""
        path = self._path(name)
        try:
            path.replace(path.with_name(f".{name}.corrupt-{os.urandom(4).hex()}"))
        except OSError as error:
            raise HostError(f"cannot rename the corrupt lease {path}: {explain(error, path)}") from None

    def _corrupt(self, name: str, found: str) -> IncoherentError:
        return IncoherentError(
            f"the lease of {name} in {self._path(name)} is not a number ({found}); nothing starts {name} on this host "
            f"until it is replaced: rocks stop host vm {name}"
        )

    def _path(self, name: str) -> Path:
        return self._folder / name


def _rewrite(path: Path, content: bytes) -> bool:
    """Write the content over that of the file, in its first block on the disk; whether it is on the disk.

    Both are less than a sector. A file that has the bytes and not yet their length is a corrupt one: that machine does
    not start here until it is stopped again.
    """
    try:
        with open_plain(path, os.O_NOFOLLOW) as old:
            if not 0 < os.fstat(old.fileno()).st_size <= len(content):
                return False  # it would be cut
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.pwrite(descriptor, content, 0) != len(content):
                return False
            os.fsync(descriptor)
            return True
        finally:
            os.close(descriptor)
    except OSError:
        return False


def check_name(name: str) -> str:
    """The name itself. UserError unless it is valid as the name of a domain and of a file."""
    if not _NAME.match(name):
        raise UserError(
            f"{name[:80]!r} is not a valid name of a virtual machine: letters, digits, '.', '_' and '-' only, "
            "the first one a letter or digit, at most 128, and not ending in .lock"
        )
    return name


# The lease epoch of a host: starts under leases of an earlier epoch are refused (decision 31).
#
# A cluster database that was restored begins a new epoch. A frontend that still works with the older copy has leases of
# an earlier one.


_KIND = RecordKind(
    "the lease epoch of this host",
    "nothing starts here until it is moved away and `rocks sync vm lease` has been run on the frontend",
)
_START_SECONDS = 30.0
_RAISE_SECONDS = 5.0


class HostEpoch:
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
