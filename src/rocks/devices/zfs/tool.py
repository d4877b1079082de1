"""The one door to `zfs` and `zpool`: argument vectors with deadlines, refusals sorted by who can mend them."""

from __future__ import annotations

import os
from typing import Dict, Optional

from rocks.clock import Deadline, wait_seconds
from rocks.errors import BusyError, PoolFullError, RocksError, StateError, ToolError
from rocks.process import Finished, run

QUICK_SECONDS = 60.0
"""For what reads, and for what changes a few records of the pool."""

LONG_SECONDS = 600.0
"""For what may have to free or write out much: destroy, roll back, flush, forget a half received stream."""

_BUSY_SECONDS = 10.0
_POLL_SECONDS = 0.2
_MAX_LISTINGS = 5
_MISSING = "does not exist"
_BUSY = ("is busy", "Device busy")
_FULL = (
    "out of space",
    "quota exceeded",
    "No space left",
    "exceeds available space",
    "greater than available",
)


def plain_environment() -> Dict[str, str]:
    """This process' environment, with the tools speaking untranslated."""
    return {**os.environ, "LC_ALL": "C"}


def pool_of(name: str) -> str:
    """The pool in which a dataset lies."""
    return name.split("/")[0].split("@")[0]


def zfs(*words: str, deadline_seconds: float = QUICK_SECONDS) -> str:
    """What `zfs` prints. ToolError, BusyError, or StateError when the pool is full or not there."""
    finished = _run("zfs", words, deadline_seconds)
    if finished.exit_status != 0:
        raise refusal(f"{words[0]} of {words[-1]}", finished.error_text)
    return finished.text


def zfs_if_there(*words: str) -> Optional[str]:
    """As `zfs`, None when the dataset, which is the last word, does not exist in a pool that does."""
    name = words[-1]
    for _ in range(_MAX_LISTINGS):
        finished = _run("zfs", words, QUICK_SECONDS)
        if finished.exit_status == 0:
            return finished.text
        if _MISSING not in finished.error_text:
            break
        if f"'{name}'" in finished.error_text or f"'{name.partition('@')[0]}'" in finished.error_text:
            zpool_health(pool_of(name))
            return None
        # something else went away while it was listed: look again
    raise refusal(f"{words[0]} of {name}", finished.error_text)


def zfs_when_free(*words: str) -> bytes:
    """What `zfs` prints; tried for ten seconds while the dataset is in use, for udev looks at devices once closed."""
    deadline = Deadline(_BUSY_SECONDS)
    while True:
        finished = _run("zfs", words, LONG_SECONDS)
        if finished.exit_status == 0:
            return finished.output
        error = refusal(f"{words[0]} of {words[-1]}", finished.error_text)
        if not isinstance(error, BusyError) or deadline.passed():
            raise error
        wait_seconds(_POLL_SECONDS)


def zfs_finished(*words: str) -> Finished:
    """All that `zfs` said, whatever its exit status."""
    return _run("zfs", words, QUICK_SECONDS)


def zpool_health(pool: str) -> str:
    """The pool's health word. StateError when this machine has not got it."""
    finished = _run("zpool", ("list", "-H", "-o", "health", pool), QUICK_SECONDS)
    if finished.exit_status != 0:
        raise StateError(
            f"this machine has no ZFS pool {pool}: `zpool list` shows those it has, `zpool import` those it could "
            f"have ({one_line(finished.error_text)})"
        )
    return finished.text.strip()


def zpool_sync(pool: str) -> None:
    """Have all that was written to a pool on its disks."""
    finished = _run("zpool", ("sync", pool), LONG_SECONDS)
    if finished.exit_status != 0:
        raise refusal(f"sync of the pool {pool}", finished.error_text)


def refusal(what: str, words: str) -> RocksError:
    """The error for what a tool said."""
    text = f"zfs {what} failed: {one_line(words) or 'it printed nothing'}"
    if any(mark in words for mark in _BUSY):
        return BusyError(text)
    if any(mark in words for mark in _FULL):
        return PoolFullError(f"{text}; the pool has no room for it")
    return ToolError(text)


def one_line(words: str) -> str:
    """A tool's words on one line, shortened."""
    return "; ".join(line.strip() for line in words.splitlines() if line.strip())[:400]


def _run(program: str, words: tuple[str, ...], deadline_seconds: float) -> Finished:
    return run((program, *words), deadline_seconds=deadline_seconds, environment=plain_environment())
