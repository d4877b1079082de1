"""The logs of serial consoles on this host, which virtlogd writes and bounds; one for each machine, by its UUID."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import List

from rocks.core.errors import HostError, StateError
from rocks.core.files import explain
from rocks.fleet.wire.consoles import CONSOLE_LOG_FOLDER, MAX_LINES, console_log

_OLDER = ("", ".0", ".1", ".2")
"""Endings of a log and its predecessors, the newest first."""

_MAX_BYTES = 1024 * 1024
_LONGEST_LINE = 4096


def last_lines(machine: str, count: int) -> List[str]:
    """The last lines of the machine's console, at most `count` and 1 MiB of them; a long one is cut at its beginning.

    HostError for a log that cannot be read, StateError for one that is no plain file.
    """
    count = max(0, min(count, MAX_LINES))
    found, left = b"", _MAX_BYTES
    for ending in _OLDER:
        if left <= 0 or found.count(b"\n") > count:
            break
        tail = _tail(Path(console_log(machine) + ending), left)
        found, left = tail + found, left - len(tail)
    lines = found.decode("utf-8", "replace").splitlines()
    return [line[-_LONGEST_LINE:] for line in lines[len(lines) - count if count < len(lines) else 0 :]]


def begin_log(name: str, log_path: str) -> None:
    """Remove what earlier runs of the machine have written, since virtlogd appends; and `name_log`."""
    path = Path(log_path)
    if path.parent == Path(CONSOLE_LOG_FOLDER):
        for ending in _OLDER:
            with contextlib.suppress(OSError):
                Path(f"{path}{ending}").unlink(missing_ok=True)
    name_log(name, log_path)


def name_log(name: str, log_path: str) -> None:
    """Have `NAME.console.log` lead to the log of the machine that has the name now, for people who look on the host.

    A plain file of that name stays. The link is a convenience: when it cannot be made, the log is there all the same.
    """
    path = Path(log_path)
    link = Path(CONSOLE_LOG_FOLDER, f"{name}.console.log")
    if path.parent != link.parent or path == link:
        return
    with contextlib.suppress(OSError):
        if link.is_symlink() and str(link.readlink()) != path.name:
            link.unlink()
        link.symlink_to(path.name)


def remove_logs(machine: str) -> int:
    """Remove the logs of the machine with this UUID, and the links to them; returns how many. HostError."""
    folder, log = Path(CONSOLE_LOG_FOLDER), Path(console_log(machine)).name
    removed = 0
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            is_link = path.is_symlink() and str(path.readlink()) == log
            if is_link or path.name == log or path.name.startswith(f"{log}."):
                path.unlink(missing_ok=True)
                removed += 1
    except OSError as error:
        raise HostError(
            f"the logs of consoles in {folder} cannot be removed: {explain(error, folder)}"
        ) from None
    return removed


def _tail(path: Path, max_bytes: int) -> bytes:
    """The last bytes of the file; none when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StateError(
                    f"{path} is not the log of a console, but no plain file; remove it on its host"
                )
            return os.pread(descriptor, max_bytes, max(0, status.st_size - max_bytes))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise HostError(f"the log {path} of the console cannot be read: {explain(error, path)}") from None
