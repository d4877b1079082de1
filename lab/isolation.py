"""`python3 -m lab.isolation PROGRAM ARGUMENTS…`: runs a program with its own mounts, processes, network and /tmp.

`make test` runs pytest with it. Everything that the program starts ends when the program, this launcher or the process
that started the launcher (make) ends, for whatever reason: the program runs below process 1 of a process namespace,
which the kernel kills with its parent. The network has the loopback device only. /tmp is a folder below `.state/tmp` of
the checkout; the next run removes the folder of a killed run. The program does not see the checkout's demo: otherwise
a test's `bin/rocks` could change the user's site through its database socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab import system_calls
from lab.namespace import CHECKOUT
from rocks.core.errors import RocksError

_STATE = CHECKOUT / ".state"
_FOLDERS = _STATE / "tmp"
_NAMESPACES = system_calls.NEW_MOUNTS | system_calls.NEW_IPC | system_calls.NEW_NETWORK
_TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP)
_CANNOT_START = 127


def run(arguments: Sequence[str]) -> int:
    """Run the program to its end; returns its exit status, 128 more than the signal that ended it."""
    system_calls.die_with_starter()
    folder, lock = _create_folder()
    try:
        return _run_in(folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _create_folder() -> tuple[Path, int]:
    """A new folder for /tmp, locked as long as this process lives; folders that nobody locks are removed."""
    _FOLDERS.mkdir(parents=True, exist_ok=True)
    _FOLDERS.chmod(0o711)  # a user who can open it could lock it
    all_folders = _open_locked(_FOLDERS)
    for old in _FOLDERS.glob("*"):
        _remove_unless_locked(old)
    folder = Path(tempfile.mkdtemp(dir=_FOLDERS))
    lock = _open_locked(folder)
    os.close(all_folders)
    folder.chmod(0o1777)
    return folder, lock


def _open_locked(folder: Path, flags: int = 0) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle


def _remove_unless_locked(folder: Path) -> None:
    try:
        handle = _open_locked(folder, fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its run has not ended
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)


def _run_in(folder: Path, arguments: Sequence[str]) -> int:
    system_calls.unshare(system_calls.NEW_PROCESSES)
    alive_read, alive_write = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(alive_write)
        _run_init(folder, arguments, alive_read)
    for one in _TERMINAL_SIGNALS:
        signal.signal(one, signal.SIG_IGN)  # the program gets them too, and decides
    signal.signal(signal.SIGTERM, lambda *_: os.kill(number, signal.SIGTERM))
    return _exit_status(os.waitpid(number, 0)[1])


def _run_init(folder: Path, arguments: Sequence[str], launcher_alive: int) -> NoReturn:
    """Process 1: create the other namespaces, run the program, and reap. When it ends, the kernel kills all others."""
    status = _CANNOT_START
    try:
        system_calls.die_with_parent()
        if not select.select([launcher_alive], [], [], 0)[0]:  # readable when the launcher has ended already
            _create_namespaces(folder)
            status = _run_program(arguments)
    except BaseException as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _create_namespaces(folder: Path) -> None:
    here = Path.cwd()
    system_calls.unshare(_NAMESPACES)
    system_calls.make_mounts_private()
    system_calls.set_loopback_up()
    _mount_sys()
    _hide_demo()
    _mount_temporary_folder(folder)
    system_calls.mount("proc", "/proc", "proc")
    os.chdir(here)


def _mount_sys() -> None:
    """Mount a /sys that shows this network's devices, with the file systems that were mounted below it."""
    handles = {point: _open_path(point) for point in system_calls.mount_points_below("/sys")}
    system_calls.mount("sysfs", "/sys", "sysfs")
    for point, handle in handles.items():
        if Path(point).exists():
            system_calls.bind(f"/proc/self/fd/{handle}", point)
        os.close(handle)


def _hide_demo() -> None:
    """Replace `.state` by a view of its folders without the demo's.

    Mounting over the demo's folder itself does not suffice: `make demo-stop` removes the folder, the kernel removes the
    mount with it, and the next demo would be visible.
    """
    handles: dict[Path, int] = {}
    for path in _STATE.iterdir():
        if path.is_dir() and path.name != "demo":
            with contextlib.suppress(FileNotFoundError):  # another program's temporary folder
                handles[path] = _open_path(str(path))
    options = f"mode={_STATE.stat().st_mode & 0o7777:o}"
    system_calls.mount("without-demo", _STATE, "tmpfs", options=options)
    for path, handle in handles.items():
        path.mkdir()
        system_calls.bind(f"/proc/self/fd/{handle}", path)
        os.close(handle)


def _mount_temporary_folder(folder: Path) -> None:
    """Mount the folder at /tmp; a checkout below /tmp stays visible."""
    visible = (CHECKOUT, Path(__file__).resolve().parent.parent)  # the latter where `lab` is a symbolic link
    handles = {path: _open_path(str(path)) for path in visible}
    system_calls.bind(folder, "/tmp")  # noqa: S108 - the folder itself, not a file in it
    for path, handle in handles.items():
        if not path.exists():
            path.mkdir(parents=True)
            system_calls.bind(f"/proc/self/fd/{handle}", path)
        os.close(handle)


def _open_path(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _run_program(arguments: Sequence[str]) -> int:
    program = os.fork()
    if program == 0:
        try:
            os.execvp(arguments[0], list(arguments))
        except OSError as error:
            print(f"Error: cannot start {arguments[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_CANNOT_START)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(program, signal.SIGTERM))
    while True:
        number, status = os.wait()
        if number == program:
            return _exit_status(status)


def _exit_status(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except (RocksError, OSError) as error:  # the latter for a folder of .state that cannot be made
        sys.exit(f"Error: {error}")
