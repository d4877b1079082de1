"""What the tables say of an attribute. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """An attribute that the system itself reads: its usual scope, its default, and what it means.

    A secret one is stored where only root reads it. One that is a program names what this system runs as root.
    """

    scope: str
    default: str
    meaning: str
    is_secret: bool = False
    is_program: bool = False
