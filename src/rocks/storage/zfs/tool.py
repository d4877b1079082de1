"""Runs `zfs` and `zpool` with deadlines; turns their messages into errors.

Each function raises HostError when the pool does not answer: in time, or at once while others wait (`silent_pools`).
"""

from __future__ import annotations

import os
import re
from typing import Dict, Optional, Sequence, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, HostError, PoolFullError, RocksError, StateError, ToolError
from rocks.core.process import Finished, LateError, run
from rocks.storage.zfs.silent_pools import SilentPools

COMMAND_SECONDS = 60.0
"""For reads and small changes."""

LONG_SECONDS = 600.0
"""For commands that may free or write much data: destroy, rollback, sync, abort of a receive."""

_BUSY_SECONDS = 10.0
_POLL_SECONDS = 0.2
_MAX_LISTINGS = 5
_MISSING = "does not exist"
_SILENT_POOLS = SilentPools()
_QUOTED = re.compile(r"'([^']+)'")
_BUSY = ("is busy", "Device busy")
_FULL = (
    "out of space",
    "quota exceeded",
    "No space left",
    "exceeds available space",
    "greater than available",
)


def plain_environment() -> Dict[str, str]:
    """This process' environment with LC_ALL=C."""
    return {**os.environ, "LC_ALL": "C"}


def pool_of(name: str) -> str:
    """The pool of a dataset."""
    return name.split("/")[0].split("@")[0]


def zfs(*arguments: str, deadline_seconds: float = COMMAND_SECONDS) -> str:
    """Run `zfs`, return its output. ToolError, BusyError, HostError, PoolFullError, or StateError without the pool."""
    finished = _run("zfs", arguments, deadline_seconds)
    if finished.exit_status != 0:
        raise zfs_error(f"{arguments[0]} of {arguments[-1]}", finished.error_text)
    return finished.text


def zfs_if_there(*arguments: str) -> Optional[str]:
    """As `zfs`, None when the dataset (the last argument) does not exist but its pool does."""
    name = arguments[-1]
    for _ in range(_MAX_LISTINGS):
        finished = _run("zfs", arguments, COMMAND_SECONDS)
        if finished.exit_status == 0:
            return finished.text
        if _MISSING not in finished.error_text:
            break
        if f"'{name}'" in finished.error_text or f"'{name.partition('@')[0]}'" in finished.error_text:
            zpool_health(pool_of(name))
            return None
        # another dataset was destroyed during the listing: list again
    raise zfs_error(f"{arguments[0]} of {name}", finished.error_text)


def zfs_of_those_there(arguments: Sequence[str], names: Sequence[str]) -> str:
    """Run `zfs` for several datasets at once; those that do not exist are missing in its output, but their pools exist.

    Errors as of `zfs`.
    """
    if not names:
        return ""
    finished = _run("zfs", (*arguments, *names), COMMAND_SECONDS)
    if finished.exit_status == 0:
        return finished.text
    expected = {part for name in names for part in (name, name.partition("@")[0])}
    messages = finished.error_text.splitlines()
    for message in messages or [""]:
        quoted = _QUOTED.search(message)
        if _MISSING not in message or quoted is None or quoted.group(1) not in expected:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise zfs_error(f"{arguments[0]} of {names[0]}{others}", finished.error_text)
    for pool in sorted({pool_of(name) for name in names}):
        zpool_health(pool)
    return finished.text


def zfs_when_free(*arguments: str) -> bytes:
    """As `zfs`, retried for ten seconds while the dataset is busy: udev opens devices after they are closed."""
    deadline = Deadline(_BUSY_SECONDS)
    while True:
        finished = _run("zfs", arguments, LONG_SECONDS)
        if finished.exit_status == 0:
            return finished.output
        error = zfs_error(f"{arguments[0]} of {arguments[-1]}", finished.error_text)
        if not isinstance(error, BusyError) or isinstance(error, PoolFullError) or deadline.passed():
            raise error
        wait_seconds(_POLL_SECONDS)


def zfs_finished(*arguments: str) -> Finished:
    """Run `zfs` and return output and exit status."""
    return _run("zfs", arguments, COMMAND_SECONDS)


def zpool_health(pool: str) -> str:
    """The health of the pool. StateError, which names this machine to a reader on another, when it has no such pool."""
    finished = _run("zpool", ("list", "-H", "-o", "health", pool), COMMAND_SECONDS)
    if finished.exit_status != 0:
        raise StateError(
            f"{os.uname().nodename} has no ZFS pool {pool}: there, `zpool list` shows imported pools, `zpool import` "
            f"others ({one_line(finished.error_text)})",
            code=Code.POOL_MISSING,
        )
    return finished.text.strip()


def zpool_names() -> Tuple[str, ...]:
    """The imported pools. ToolError when `zpool` fails."""
    finished = _run("zpool", ("list", "-H", "-o", "name"), COMMAND_SECONDS, about="")
    if finished.exit_status != 0:
        raise ToolError(f"zpool list: {one_line(finished.error_text)}")
    return tuple(sorted(finished.text.split()))


def zpool_sync(pool: str) -> None:
    """Write all data of the pool to its disks."""
    finished = _run("zpool", ("sync", pool), LONG_SECONDS)
    if finished.exit_status != 0:
        raise zfs_error(f"sync of the pool {pool}", finished.error_text)


def zfs_error(what: str, message: str) -> RocksError:
    """The error for a message of `zfs` or `zpool`. Existing programs match its first words, and those of `_run`."""
    error = f"Error executing zfs: {what} failed: {one_line(message) or 'it printed nothing'}"
    if any(text in message for text in _BUSY):
        return BusyError(error)
    if any(text in message for text in _FULL):
        return PoolFullError(f"{error}; the pool is full")
    return ToolError(error)


def one_line(text: str) -> str:
    """The text on one line, truncated to 400 characters."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[:400]


def _run(
    program: str, arguments: tuple[str, ...], deadline_seconds: float, about: Optional[str] = None
) -> Finished:
    """Run `zfs` or `zpool` about the last argument, or what `about` names.

    HostError when the pool does not answer: it is awaited, as a host is.
    """

    def command() -> Finished:
        return run((program, *arguments), deadline_seconds=deadline_seconds, environment=plain_environment())

    try:
        return _SILENT_POOLS.ask(arguments[-1] if about is None else about, command)
    except LateError as late:
        raise HostError(f"Command {program} failed: {late}") from None
    except ToolError as error:
        raise ToolError(f"Command {program} failed: {error}") from None
