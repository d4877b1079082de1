"""What every `ensure_` answers: whether anything had to be changed, and what a person should know."""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Change(NamedTuple):
    """`changed` is False when all was as wanted before."""

    changed: bool
    notes: Tuple[str, ...] = ()


UNCHANGED = Change(False)
CHANGED = Change(True)
