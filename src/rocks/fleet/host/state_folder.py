"""The state folder of a host: files that outlive a request, and locks between requests.

`Place` is the table of everything in it.
"""

from __future__ import annotations

import enum
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, IncoherentError, RocksError
from rocks.core.files import ensure_folders, explain, open_plain
from rocks.fleet.wire.received import parse_json

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
    FILTER_SUPPORT = "nftables-support.json"
    FILTERS_LOCK = "filters.lock"
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


# The one reader of records on a host: files of this system that outlive a request.
#
# A record may be damaged by a full disk, an editor or a restored backup. It is then an error that names the file and
# the remedy, and never "no record": what it records, a key on a VF for example, would be forgotten.


LONGEST_BYTES = 1024 * 1024


class RecordKind(NamedTuple):
    """For messages: what the record is, and what to do about a damaged one."""

    title: str
    remedy: str


def read_text_record(path: Path, kind: RecordKind) -> Optional[str]:
    """The text of a record, None when there is no file. IncoherentError for a damaged record; never waits."""
    try:
        data = read_start(path, LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise ValueError(f"longer than {LONGEST_BYTES} bytes")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(path, kind, explain(error, path)) from None
    except ValueError as error:
        raise damaged(path, kind, str(error)) from None


def read_json_record(path: Path, kind: RecordKind) -> Any:
    """The JSON value of a record, None when there is no file. IncoherentError for a damaged record; never waits."""
    text = read_text_record(path, kind)
    if text is None:
        return None
    try:
        value = parse_json(text)
    except ValueError as error:
        raise damaged(path, kind, str(error)) from None
    if value is None:
        raise damaged(path, kind, "it is empty")
    return value


def remove_record(path: Path) -> None:
    """Remove a record, if there is one. HostError when that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"cannot remove {path}: {explain(error, path)}") from None


def record_names(folder: Path) -> List[str]:
    """Names of the files in a folder of records, sorted, without hidden ones; empty without the folder. HostError."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"cannot list {folder}: {explain(error, folder)}") from None


def damaged(path: Path, kind: RecordKind, reason: object) -> IncoherentError:
    """The error of a record that cannot be read or has an invalid shape."""
    return IncoherentError(f"{path}, {kind.title}, cannot be read ({reason}); {kind.remedy}")


def read_cache(path: Path) -> Dict[str, Any]:
    """The JSON object of a file whose content can be found out again; empty when it is missing or damaged."""
    try:
        value = read_json_record(path, RecordKind("a cache", ""))
    except RocksError:
        return {}
    return value if isinstance(value, dict) else {}


def read_start(path: Path, max_bytes: int) -> bytes:
    """The first bytes of a regular file. OSError, also for what is no file; a FIFO is not waited for."""
    with open_plain(path, os.O_NOFOLLOW) as file:
        return file.read(max_bytes)
