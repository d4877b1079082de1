"""A dry run of a command: what only reads goes through, and each change is printed instead of made.

It is on for the whole process, from `begin` to `end`. The gateways to hosts, to image storage and to files know their
changes: they call `would`, and go on as if the change had succeeded. What no gateway knows (another program, a removed
file, a connection of a plugin) is caught where the interpreter itself makes it (PEP 578): it is printed, not made, and
the dry run ends there, since nobody knows what would have come of it.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple
from weakref import WeakSet

from rocks.core.errors import StateError

HERE = "this machine"
"""The place of steps on the machine on which the command runs."""

_LONGEST_STEP = 400
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_FILES = ("/dev/", "/proc/self/")
"""Beginnings of paths behind which there is no file that could be changed."""


class UnknownReplyError(StateError):
    """What follows depends on the reply to a change that a dry run has not made. The command itself has not failed."""

    exit_status = 0
    """The exit status of a command that is done: all that could be checked is valid."""


class _DryRun:
    """The steps so far. Of several threads, one at a time adds a step."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._printed: Set[str] = set()
        self.has_ended = False
        self.assumed_devices: Set[Tuple[str, str]] = set()
        self.other_threads = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        """The threads that ran before, which do not work for the command."""
        self.wrote_no_bytecode = sys.dont_write_bytecode

    def add(self, place: str, step: str) -> None:
        with self._lock:
            if self.has_ended:
                raise UnknownReplyError(f"{place}: what follows is not known")
            line = f"{place}: would {step}"
            if line not in self._printed:
                self._printed.add(line)
                self._show(line if len(line) <= _LONGEST_STEP else f"{line[: _LONGEST_STEP - 1]}…")


_ENDED = _DryRun(lambda line: None)
_ENDED.has_ended = True
_ENDED.other_threads = set()

_current: Optional[_DryRun] = None
_left: "WeakSet[threading.Thread]" = WeakSet()
"""Threads of dry runs that have ended: a host may answer late, and what they do then is still no change."""

_asking = threading.local()
_is_watched = False


def begin(show: Callable[[str], None]) -> None:
    """From now on no change is made by this process; `show` gets a line for each: `vmh1: would start vm-vc1-0`."""
    global _current, _is_watched
    if not _is_watched:
        sys.addaudithook(_stop_unknown_change)
        _is_watched = True
    _current = _DryRun(show)
    sys.dont_write_bytecode = True


def end() -> None:
    """Changes are made again."""
    global _current
    if _current is not None:
        sys.dont_write_bytecode = _current.wrote_no_bytecode
        known = {*_current.other_threads, threading.get_ident()}
        _left.update(thread for thread in threading.enumerate() if thread.ident not in known)
        _current.has_ended = True
    _current = None


def is_on() -> bool:
    """Whether this process, or what is left of an earlier dry run in this thread, makes no changes."""
    return _of_this_thread() is not None


def would(place: str, step: str) -> bool:
    """Print that this step would be done on a host, and return True; False, without a line, when this is no dry run.

    After `stop` it raises UnknownReplyError: what follows would be a guess.

        if dry_run.would(host.name, "load 12 firewall rules"):
            return "loaded"
    """
    current = _of_this_thread()
    if current is None:
        return False
    current.add(place, step)
    return True


def stop(place: str, step: str) -> None:
    """As `would`, for a step whose reply decides what follows: raises UnknownReplyError in a dry run."""
    current = _of_this_thread()
    if current is not None:
        current.add(place, step)
        current.has_ended = True
        raise unknown(place, "this step")


def assume_device(host: str, path: str) -> None:
    """What follows takes this device of the host as made, which a dry run has not made."""
    if _current is not None:
        _current.assumed_devices.add((host, path))


def is_assumed(host: str, path: str) -> bool:
    """Whether the device is one of `assume_device`."""
    return _current is not None and (host, path) in _current.assumed_devices


def unknown(place: str, what: str) -> UnknownReplyError:
    """The error for one host of several: what follows there depends on `what`."""
    return UnknownReplyError(f"{place}: what follows depends on {what}, which a dry run does not do")


@contextmanager
def reading() -> Iterator[None]:
    """A section that changes nothing, though it starts programs or connects: a dry run leaves it alone."""
    before = getattr(_asking, "depth", 0)
    _asking.depth = before + 1
    try:
        yield
    finally:
        _asking.depth = before


def _of_this_thread() -> Optional[_DryRun]:
    return _ENDED if _left and threading.current_thread() in _left else _current


def _stop_unknown_change(event: str, arguments: Tuple[Any, ...]) -> None:
    """The interpreter's audit hook: it is called before each event, and an error keeps the event from happening."""
    current = _of_this_thread() if _current is not None or _left else None
    if current is None or getattr(_asking, "depth", 0) > 0:
        return
    if threading.get_ident() in current.other_threads:
        return
    describe = _EVENTS.get(event)
    if describe is None:
        return
    with reading():
        step = describe(arguments)
    if step is not None:
        stop(HERE, step)


def _opened(arguments: Tuple[Any, ...]) -> Optional[str]:
    path, _, flags = arguments
    if isinstance(path, int) or not isinstance(flags, int) or not flags & _WRITING:
        return None
    name = _name(path)
    return None if name.startswith(_NO_FILES) else f"write {name}"


def _signalled(arguments: Tuple[Any, ...]) -> Optional[str]:
    return f"send signal {arguments[1]} to process {arguments[0]}" if arguments[1] else None


def _program(arguments: Tuple[Any, ...]) -> str:
    """The program alone: its arguments may be long."""
    return f"run {_name(arguments[0])}"


def _name(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)


_EVENTS: Dict[str, Callable[[Tuple[Any, ...]], Optional[str]]] = {
    "open": _opened,
    "os.chmod": lambda given: f"change the mode of {_name(given[0])}",
    "os.chown": lambda given: f"change the owner of {_name(given[0])}",
    "os.exec": _program,
    "os.kill": _signalled,
    "os.killpg": _signalled,
    "os.link": lambda given: f"make the link {_name(given[1])}",
    "os.mkdir": lambda given: f"make the folder {_name(given[0])}",
    "os.posix_spawn": _program,
    "os.remove": lambda given: f"remove {_name(given[0])}",
    "os.rename": lambda given: f"rename {_name(given[0])} to {_name(given[1])}",
    "os.rmdir": lambda given: f"remove the folder {_name(given[0])}",
    "os.symlink": lambda given: f"make the link {_name(given[1])}",
    "os.system": _program,
    "os.truncate": lambda given: f"write {_name(given[0])}",
    "os.utime": lambda given: f"change the times of {_name(given[0])}",
    "socket.connect": lambda given: f"connect to {given[1]!r}",
    "subprocess.Popen": lambda given: f"run {_name(given[0])}",
}
"""Events that change something, or may (https://docs.python.org/3/library/audit_events.html), and their texts."""
