"""Consoles of machines on this host: their logs, pictures of screens, and what removed machines leave."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from pathlib import Path
from typing import List

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import explain
from rocks.fleet.wire.facts import ConsoleFact, ConsoleRequest
from rocks.fleet.wire.requests import (
    CONSOLE_LOG_FOLDER,
    LARGEST_PICTURE_BYTES,
    MAX_LINES,
    PNG_BEGINNING,
    ConsoleLogFact,
    ConsoleLogRequest,
    ForgetMachinesRequest,
    RemovedFiles,
    ScreenFact,
    ScreenRequest,
    console_log,
    nvram_file,
)
from rocks.machine.host.files import is_uuid
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import is_active

# The logs of serial consoles on this host, which virtlogd writes and bounds; one for each machine, by its UUID.

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


# Consoles of machines, the picture on a screen, the last lines of a serial line; and what removed machines leave.


def read_console(host: Host, request: ConsoleRequest) -> ConsoleFact:
    """The console of a running domain. StateError when the domain does not run."""
    _check_runs(host, request.name)
    return host.domains().console(request.name)


def read_screen(host: Host, request: ScreenRequest) -> ScreenFact:
    """The picture on the screen of a running domain. StateError without a screen, or for a picture that is too large.

    HostError when QEMU does not make PNGs, as versions before 7.1.
    """
    _check_runs(host, request.name)
    picture = host.domains().screenshot(request.name, LARGEST_PICTURE_BYTES)
    if len(picture) > LARGEST_PICTURE_BYTES:
        raise StateError(
            f"the picture of the screen of {request.name} has more than {LARGEST_PICTURE_BYTES} bytes; choose a "
            f"smaller resolution in the guest, or look at it: rocks open host console {request.name} type=vnc"
        )
    if not picture.startswith(PNG_BEGINNING):
        raise HostError("QEMU of this host does not make pictures in PNG; version 7.1 and later do")
    return ScreenFact(base64.b64encode(picture).decode("ascii"))


def read_console_log(host: Host, request: ConsoleLogRequest) -> ConsoleLogFact:
    """The last lines of a machine's console. UserError for what is no UUID."""
    _check_uuid(request.machine)
    return ConsoleLogFact(tuple(last_lines(request.machine, request.lines)))


def forget_machines(host: Host, request: ForgetMachinesRequest) -> RemovedFiles:
    """Remove the files that are named by removed machines. UserError for what is no UUID, HostError for a file."""
    removed = 0
    for machine in request.machines:
        _check_uuid(machine)
        removed += remove_logs(machine)
        path = Path(nvram_file(machine))
        try:
            path.unlink()
            removed += 1
        except FileNotFoundError:  # it had a BIOS
            continue
        except OSError as error:
            raise HostError(f"the variables of UEFI stay: {explain(error, path)}") from None
    return RemovedFiles(removed)


def _check_uuid(machine: str) -> None:
    if not is_uuid(machine):
        raise UserError(f"{machine[:80]!r} is not the UUID of a machine")


def _check_runs(host: Host, name: str) -> None:
    if not is_active(host.domains(), name):
        raise StateError(f"{name} does not run on this host, so it has no console")
