"""Attributes of a host as text: a dictionary in Python's notation, or lines of `name:value`. Neither is evaluated."""

from __future__ import annotations

import ast

from rocks.core.errors import UserError

LONGEST = 4_000_000
"""Characters of a dictionary or a file of attributes."""


def read_dictionary(text: str, title: str) -> dict[str, str]:
    """The dictionary in the text; numbers and truth values become texts. UserError, which names `title`, for others."""
    if len(text) > LONGEST:
        raise UserError(f"{title} is longer than {LONGEST} characters")
    try:
        found = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise UserError(f"{title} cannot be read: write {{'name': 'value', 'other': 'value'}}") from None
    if not isinstance(found, dict):
        raise UserError(f"{title} is not a dictionary: write {{'name': 'value', 'other': 'value'}}")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | None):
            raise UserError(f"{title}: {name!r} must be a text with a text as its value")
    return {name: str(value) for name, value in found.items() if value is not None}


def read_lines(text: str, title: str) -> dict[str, str]:
    """The attributes in lines of `name:value`; blanks around both are dropped. UserError for other lines."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = line.partition(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not colon or not name.strip():
            raise UserError(f"{title}, line {number}: expected name:value")
        values[name.strip()] = value.strip()
    return values
