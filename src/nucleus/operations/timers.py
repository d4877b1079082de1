"""When something is due: by the clock that only counts, so that setting the time ends no computeset early.

Each is stored twice: as a time of day, and as seconds since a numbered boot, which count while the machine
runs. After a boot, or on another machine, the time of day is what is known. Timers of the database go by the
time of day as well; shifting all of them at a step could happen twice.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from nucleus.records import JsonObject


def _boot_id() -> str:
    """The number of this boot; empty where it is not known. The unit hides the file, and passes the number on."""
    given = os.environ.get("ROCKS_BOOT_ID", "")
    with contextlib.suppress(OSError):
        given = given or Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return given.replace("-", "")


def moved(timer: JsonObject, seconds: float) -> JsonObject:
    """The timer, due `seconds` later; earlier if negative."""
    return {**timer, **{name: timer[name] + seconds for name in ("at", "since_boot")}}


class Clock(NamedTuple):
    """The time of day, and the seconds since this machine has booted, in seconds; `boot` names that boot."""

    now: Callable[[], float] = time.time
    since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    boot: Callable[[], str] = _boot_id

    def timer(self, seconds: float) -> JsonObject:
        """A timer for the database, due after so long."""
        return {"at": self.now() + seconds, "boot": self.boot(), "since_boot": self.since_boot() + seconds}

    def timer_at(self, moment: float) -> JsonObject:
        """A timer for the database, due at a time of day."""
        return {**self.timer(moment - self.now()), "at": moment}

    def is_due(self, timer: JsonObject) -> bool:
        """Whether its time has come; after a boot, on another machine and without a boot, by the time of day."""
        if timer["boot"] and timer["boot"] == self.boot():
            return bool(self.since_boot() >= timer["since_boot"])
        return bool(self.now() >= timer["at"])
