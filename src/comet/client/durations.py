"""Walltimes as they are typed, and durations as they are shown. Pure."""

from __future__ import annotations

import re
from typing import Optional

from comet.client.errors import UsageError

_MAX_DIGITS = 9
_LONGEST = 10_000_000
"""Minutes; more are no request of Nucleus. Of these it says what its site allows."""
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10080}

_SLURM = re.compile(
    r"([0-9]{1,5})-([0-9]{1,3})(?::([0-9]{1,2})(?::[0-9]{1,2})?)?|([0-9]{1,6}):([0-9]{1,2}):([0-9]{1,2})"
)


def walltime_to_minutes(text: str) -> int:
    """`90m`, `6h`, `2d`, `1w`, and Slurm's `1-12`, `1-12:30`, `36:00:00` in minutes, at most what a request may have.

    UsageError without a unit: 6 is minutes to some, hours to others, and so is 6:00. Source of Slurm's: sbatch(1).
    """
    of_slurm = _SLURM.fullmatch(text.strip())
    if of_slurm:
        days, hours, minutes, whole_hours, more_minutes, seconds = (int(it or 0) for it in of_slurm.groups())
        total = 1440 * days + 60 * (hours + whole_hours) + minutes + more_minutes + (seconds > 0)
        if total:
            return min(total, _LONGEST)
    found = re.fullmatch(r"([0-9]+)([mhdw])", text.strip())
    # before `int`: Python refuses to read a number of 5,000 digits
    if found and len(found[1]) > _MAX_DIGITS:
        raise UsageError(f"walltime '{text}' is too long: give at most {_MAX_DIGITS} digits")
    if not found or int(found[1]) == 0:
        raise UsageError(
            f"walltime '{text}' is not understood: give a number with m, h, d or w, such as 6h, or a time as for "
            "Slurm, with days or seconds, such as 06:00:00"
        )
    return min(int(found[1]) * _MINUTES[found[2]], _LONGEST)


def format_duration(seconds: Optional[float]) -> str:
    """`[D-]HH:MM`, whole minutes rounded down; negative is 00:00, nothing is empty."""
    if seconds is None:
        return ""
    minutes = max(0, int(seconds)) // 60
    days, minutes = divmod(minutes, 1440)
    return (f"{days}-" if days else "") + f"{minutes // 60:02d}:{minutes % 60:02d}"


def format_age(seconds: float) -> str:
    """An age for a message: `40 s`, `12 min`, `3 h`, `2 days`."""
    whole = max(0, int(seconds))
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"
