"""Named locks: they serialise changes of one object by all commands of the site (decision 30).

They are byte ranges of one file in a folder that only root can enter, so no other user of the machine can take one. A
name is the byte at the number that its digest gives. The kernel releases the locks when their process ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "locks"
_POLL_SECONDS = 0.02
_LARGEST_OFFSET = 2**62


class NamedLocks:
    """The locks of one connection, in the folder `folder`; locks of two databases never collide."""

    def __init__(self, folder: str, database_name: str) -> None:
        self._folder = folder
        self._database_name = database_name
        self._descriptor: int | None = None
        self._held: dict[int, int] = {}
        """Offset → how many times this connection has taken it."""

    def take_all(self, names: Iterable[str], seconds: float) -> list[str]:
        """Take all these locks or none, waiting at most `seconds` in total; returns the names that others hold.

        They are taken in an order that all commands share, so two commands never wait for each other. HostError when
        the folder cannot be used, StateError when other users can enter it.
        """
        deadline = Deadline(seconds)
        taken: list[str] = []
        missing: list[str] = []
        for _, name in sorted((self._offset(name), name) for name in names):
            # after the deadline the others are only tried, so that the error can name all that are busy
            (taken if self._take(name, deadline) else missing).append(name)
        if missing:
            self.release_all(taken)
        return missing

    def held_by_others(self, names: Iterable[str], seconds: float) -> list[str]:
        """The names that others hold, after waiting at most `seconds` until they hold none; takes and makes nothing."""
        if not os.path.exists(os.path.join(self._folder, FILE)):  # noqa: PTH110, PTH118
            return []
        deadline = Deadline(seconds)
        offsets = {self._offset(name): name for name in names}
        while True:
            held = [name for offset, name in offsets.items() if not self._is_free(offset)]
            if not held or deadline.passed():
                return held
            wait_seconds(_POLL_SECONDS)

    def busy_with(self, names: Sequence[str], waited_seconds: float) -> BusyError:
        """The error for locks that others hold. It has their processes, unless the locks were only tried."""
        holders = self._holders(names) if waited_seconds else []
        processes = f" (process {'; '.join(holders)})" if holders else ""
        return BusyError(
            f"another command is at work on {', '.join(names)} (waited {waited_seconds:g} s);"
            f" repeat this one when it has ended{processes}"
        )

    def _holders(self, names: Iterable[str]) -> list[str]:
        """The processes that hold the locks, as far as this user may see them: number, command and start."""
        from pathlib import Path  # late: it costs every command start-up time

        from rocks.core.files import text_if_readable

        assert self._descriptor is not None
        # Linux lists such a lock with its descriptor, "lock: 1: OFDLCK … MAJOR:MINOR:INODE FIRST LAST"; in /proc/locks
        # it has no process. Another site's database of this name has the same bytes in a file of its own.
        inode = os.fstat(self._descriptor).st_ino
        held = [f":{inode} {offset} {offset}" for offset in map(self._offset, names)]
        found = []
        for process in filter(lambda path: path.name.isdigit(), Path("/proc").iterdir()):
            with suppress(OSError):  # it has ended, or is another user's
                texts = map(text_if_readable, (process / "fdinfo").iterdir())
                if any(lock in text for text in texts for lock in held):
                    arguments = (process / "cmdline").read_text("utf-8", "replace")
                    stat_text = (process / "stat").read_text("utf-8", "replace")
                    found.append(f"{process.name}: {_command(arguments)}, since {_start(stat_text)}")
        return found

    def release_all(self, names: Iterable[str]) -> None:
        """Release these locks; a lock that this connection does not hold is ignored."""
        for offset in map(self._offset, names):
            count = self._held.pop(offset, 0)
            if count > 1:
                self._held[offset] = count - 1
            elif count == 1:
                self._set(offset, fcntl.F_UNLCK)

    def release_wholly(self, name: str) -> None:
        """Release the lock, however often this connection has taken it."""
        offset = self._offset(name)
        if self._held.pop(offset, 0):
            self._set(offset, fcntl.F_UNLCK)

    def release_others(self, names: Iterable[str]) -> None:
        """Release all locks but these."""
        remaining = set(map(self._offset, names))
        for offset in [one for one in self._held if one not in remaining]:
            del self._held[offset]
            self._set(offset, fcntl.F_UNLCK)

    def close(self) -> None:
        """Release all locks."""
        descriptor, self._descriptor = self._descriptor, None
        self._held.clear()
        if descriptor is not None:
            os.close(descriptor)

    def _take(self, name: str, deadline: Deadline) -> bool:
        offset = self._offset(name)
        while offset not in self._held and not self._set(offset, fcntl.F_WRLCK):
            if deadline.passed():
                return False
            wait_seconds(_POLL_SECONDS)
        self._held[offset] = self._held.get(offset, 0) + 1
        return True

    def _is_free(self, offset: int) -> bool:
        if self._descriptor is None:
            self._descriptor = _open_file(self._folder)
        request = struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
        answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, request)
        return bool(struct.unpack_from("@h", answer)[0] == fcntl.F_UNLCK)

    def _set(self, offset: int, kind: int) -> bool:
        """Whether the kernel took or released the byte; False when another connection holds it."""
        if self._descriptor is None:
            self._descriptor = _open_file(self._folder)
        # struct flock; an "open file description" lock belongs to this connection, not to its process (Linux 3.15)
        request = struct.pack("@hhqqi0q", kind, os.SEEK_SET, offset, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise HostError(f"cannot lock {self._folder}/{FILE}: {error.strerror}") from None
        return True

    def _offset(self, name: str) -> int:
        return lock_offset(self._database_name, name)


def _command(arguments: str) -> str:
    """A command of ours without the program before it, and without values, some of which are secrets."""
    from rocks.core.names import printable

    found = [word for word in arguments.strip("\0").split("\0") if "=" not in word]
    begin = next((place for place, word in enumerate(found) if word.rpartition("/")[2] == "rocks"), None)
    return printable(" ".join(found if begin is None else ["rocks", *found[begin + 1 :]]))


def _start(stat_text: str) -> str:
    """When the process of this /proc/PID/stat began: its hour in UTC."""
    import time
    from datetime import timedelta

    from rocks.core.clock import utc_now

    ticks = int(stat_text.rpartition(")")[2].split()[19])  # since the boot: field 22 of proc(5)
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return f"{utc_now() - timedelta(seconds=seconds):%H:%M:%S} UTC"


def lock_offset(database_name: str, name: str) -> int:
    """The byte that stands for a name; names that differ in case only are one lock."""
    import hashlib  # late: most commands take no lock

    text = f"{database_name}:{name}".lower().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % _LARGEST_OFFSET


def own_folder(path: str) -> str:
    """The folder, made with mode 0700 when it is missing.

    HostError when it cannot be made or entered, UserError when it is root's and this process is not,
    StateError when it belongs to another user or others can enter it.
    """
    from pathlib import Path  # late: it costs every command start-up time

    from rocks.core.files import ensure_folders

    try:
        ensure_folders(Path(path), 0o700)
        found = os.lstat(path)
    except OSError as error:
        raise HostError(f"cannot use the folder {path}: {error.strerror}; run this as root") from None
    if found.st_uid == 0 != os.geteuid():
        raise UserError(f"the locks of the cluster database in {path} are for root only; run this as root")
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 or not stat.S_ISDIR(found.st_mode):
        raise StateError(
            f"{path} must be a folder of root's own, with mode 0700: other users could lock the site's files there; "
            f"run `chown root: {path} && chmod 700 {path}`"
        )
    return path


def _open_file(folder: str) -> int:
    path = os.path.join(own_folder(folder), FILE)  # noqa: PTH118
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(f"cannot use the locks in {path}: {error.strerror}; run this as root") from None
