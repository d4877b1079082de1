"""The result of every `ensure_` function: whether it changed something, and notes for the operator."""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Change(NamedTuple):
    """`changed` is False when the requested state existed before."""

    changed: bool
    notes: Tuple[str, ...] = ()


UNCHANGED = Change(False)
CHANGED = Change(True)
