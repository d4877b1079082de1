"""The state folder of a host: files that outlive a request, and locks between requests.

`Place` is the table of everything in it.
"""

from __future__ import annotations

import enum
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError
from rocks.core.files import ensure_folders, explain

DEFAULT_STATE_FOLDER = "/var/lib/rocks"
_POLL_SECONDS = 0.02


class Place(enum.Enum):
    """What the state folder contains; the value is the name. Folders have a file for each machine or image."""

    LEASES = "leases"
    LEASE_EPOCH = "leases/.epoch"
    LEASE_EPOCH_LOCK = "leases/.epoch.lock"
    LINKS = "links"
    LINKS_LOCK = "links.lock"
    MEMORY = "memory"
    MEMORY_LOCK = "memory.lock"
    IMAGES = "images"
    VFS = "functions"  # its name in earlier versions
    VFS_LOCK = "functions.lock"
    PARTITIONS = "partitions"
    PARTITIONS_LOCK = "partitions.lock"
    KVM_PROBE = "kvm-probe.json"
    KVM_PROBE_LOCK = "kvm-probe.json.lock"
    VLAN_SUPPORT = "vlan-support.json"
    FILTER_SUPPORT = "filter-support.json"
    RELEASED = "imgstorage/released"
    MAPPED = "imgstorage/mapped"
    ENDED = "ended"
    RESTORING = "restoring"
    SAVED = "saved"
    FROZEN = "frozen"
    REFUSED_JOBS = "refused-jobs"

    def below(self, folder: Path) -> Path:
        """Its path."""
        return folder / self.value


def state_folder() -> Path:
    """`ROCKS_STATE_FOLDER` of the environment, else /var/lib/rocks."""
    return Path(os.environ.get("ROCKS_STATE_FOLDER", DEFAULT_STATE_FOLDER))


def ensure_folder(path: Path) -> Path:
    """The folder, created with mode 0700 when it is missing. HostError when that fails."""
    try:
        ensure_folders(path, 0o700)
    except OSError as error:
        raise HostError(f"cannot create the state folder {path}: {explain(error, path)}") from None
    return path


@contextmanager
def locked(path: Path, *, shared: bool, deadline_seconds: float, busy: str) -> Iterator[None]:
    """Hold a lock file (flock), with other holders when `shared`; the kernel releases it when the process ends.

    BusyError with the text `busy` when the deadline passes; HostError when it cannot be opened. The file stays: if
    it were removed, two processes could
    hold locks of the same name.
    """
    ensure_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"cannot open the lock {path}: {explain(error, path)}") from None
    try:
        _take(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, Deadline(deadline_seconds), busy)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int, deadline: Deadline, busy: str) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if deadline.passed():
                raise BusyError(busy) from None
            wait_seconds(_POLL_SECONDS)
