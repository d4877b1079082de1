"""Build rolls and distributions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rocks.errors import UserError
from rocks.rollkit.build import create_roll

if TYPE_CHECKING:
    from pathlib import Path

_LATEST = 4102444800  # the year 2100


def build_roll(description: Path, output: Path) -> Path:
    """Build a roll's ISO; its path. The time of its files is SOURCE_DATE_EPOCH, if that is set.

    Errors as of `create_roll`; UserError for an invalid SOURCE_DATE_EPOCH.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isdecimal() and int(text[:12]) < _LATEST):
        raise UserError("SOURCE_DATE_EPOCH is a number of seconds since 1970; correct or unset it")
    return create_roll(description, output, int(text) if text else None)
