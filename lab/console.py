"""A guest's serial console, followed in libvirt's log of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import HostError, ToolError

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_READY = re.compile(r"guest ready: name=(\S+) mac=(\S+)")
_POLL_SECONDS = 0.05
_LONGEST = 5
"""Deadlines that a guest on a busy machine may take altogether, while it prints."""


class Ready(NamedTuple):
    """The report of a guest that is up."""

    name: str
    mac: str


def read_ready(line: str) -> Ready | None:
    """The guest's report in a line of its console, if it is one."""
    found = _READY.search(line)
    return Ready(found.group(1), found.group(2)) if found else None


def plain(line: str) -> str:
    """A line as it may be shown on any terminal: without control characters and escape sequences."""
    return _CONTROL.sub("", line)


def size_of(log: Path) -> int:
    """Present size of the log in bytes; 0 without a log. Later output begins there."""
    return log.stat().st_size if log.exists() else 0


def follow_until_ready(
    log: Path,
    start: int,
    deadline_seconds: float,
    report: Callable[[str], None],
    is_running: Callable[[], bool] = lambda: True,
) -> Ready:
    """Print the output in `log` after byte `start`, line by line, until the guest reports that it is ready.

    A smaller log has begun anew, as each start of a guest makes it, and is read from its start.
    ToolError when it prints nothing for `deadline_seconds`, or is not ready after five times that; HostError as soon
    as `is_running` is false.
    """
    begin = time.monotonic()
    end_at = begin + deadline_seconds
    rest = b""
    while time.monotonic() < end_at:
        size = size_of(log)
        if size < start:
            start, rest = 0, b""
        if size <= start:
            if not is_running():
                raise HostError(f"the machine of the guest has ended; its console is in {log}")
            time.sleep(_POLL_SECONDS)
            continue
        with log.open("rb") as file:
            file.seek(start)
            rest += file.read(size - start)
        start = size
        end_at = min(time.monotonic() + deadline_seconds, begin + _LONGEST * deadline_seconds)
        *lines, rest = rest.split(b"\n")
        for line in lines:
            text = plain(line.decode("utf-8", "replace")).rstrip()
            if text:
                report(text)
            ready = read_ready(text)
            if ready is not None:
                return ready
    raise ToolError(
        f"the guest did not report within {time.monotonic() - begin:.0f} s; its console is in {log}"
    )
