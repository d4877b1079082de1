"""Watches a guest's console on its host, and reports the times of its output.

    python3 -m bench.images.programs.console_watch boot GUEST TEXT SECONDS     from QEMU's exec to the text
    python3 -m bench.images.programs.console_watch beats GUEST SECONDS         the longest silence between two lines

One JSON object a line. The console is libvirt's file of the guest's serial line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.exec_watch import ExecWatch, now

EMULATOR = "/usr/bin/qemu-system-x86_64"
_POLL_SECONDS = 0.005
_BEAT_POLL_SECONDS = 0.02
_START_TICKS_FIELD = 22


def main(arguments: list[str]) -> int:
    """Watch; returns the exit status: 1 when the expected output did not come."""
    if arguments[0] == "boot":
        return _boot(arguments[1], arguments[2].encode(), float(arguments[3]))
    return _beats(arguments[1], float(arguments[2]))


def _boot(guest: str, text: bytes, seconds: float) -> int:
    with ExecWatch(EMULATOR) as watch:
        seen = b""
        written = _written(guest, seconds, _POLL_SECONDS)
        _say({"watching": True})
        for part in written:
            seen += part
            if text in seen:
                at = now()
                _say({"seconds": at - watch.executed(_start_ticks(guest))})
                return 0
    _say(
        {
            "error": f"no {text.decode()} on the console of {guest} within {seconds:g} s; it ends with {seen[-200:]!r}"
        }
    )
    return 1


def _beats(guest: str, seconds: float) -> int:
    before = now()
    longest, beats, errors = 0.0, 0, 0
    _say({"watching": True})
    for part in _written(guest, seconds, _BEAT_POLL_SECONDS):
        if b"\n" in part:
            longest = max(longest, now() - before)
            before = now()
        beats += part.count(b"beat")
        errors += part.count(b"error")
    _say({"longest": max(longest, now() - before), "beats": beats, "errors": errors})
    return 0


def _written(guest: str, seconds: float, poll_seconds: float) -> Iterator[bytes]:
    """The console's output from now on, part by part; an empty part while there is none."""
    console = Path(f"/var/log/libvirt/qemu/{guest}.console.log")
    position = console.stat().st_size if console.exists() else 0
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        size = console.stat().st_size if console.exists() else 0
        position = min(position, size)  # it was begun anew
        part = b""
        if size > position:
            with console.open("rb") as log:
                log.seek(position)
                part = log.read(size - position)
            position = size
        yield part
        time.sleep(poll_seconds)


def _start_ticks(guest: str) -> int:
    """When the guest's QEMU was forked, in clock ticks since the machine's boot."""
    number = Path(f"/run/libvirt/qemu/{guest}.pid").read_text(encoding="ascii").strip()
    status = Path(f"/proc/{number}/stat").read_text(encoding="ascii")
    return int(status.rpartition(")")[2].split()[_START_TICKS_FIELD - 3])


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
