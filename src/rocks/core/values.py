"""Parse and check numbers and texts of the operator. Pure."""

from __future__ import annotations

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.units import UNITS

TRUE_VALUES = frozenset(("on", "yes", "y", "true", "1"))
FALSE_VALUES = frozenset(("off", "no", "n", "false", "0"))
"""Values of attributes and parameters that mean yes and no, in lower case."""

HIGHEST_NUMBER = 999_999_999
"""The largest rack, rank or count; it fits a column of the database and a `rackN` selector."""


def read_number(name: str, text: str, lowest: int, highest: int = HIGHEST_NUMBER, unit: str = "") -> int:
    """The integer in `text`, the value of parameter `name`; UserError for any other text or outside the bounds.

    The error has the unit, and how a size is typed with one of its own.
    """
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 18
    if not is_number or not lowest <= int(text) <= highest:
        of = f" {unit}" if unit else ""
        size = ", or a size such as 40G" if unit in UNITS and not is_number else ""
        raise UserError(f'{name} "{printable(text)}" must be an integer from {lowest} to {highest}{of}{size}')
    return int(text)


def yes_or_no(name: str, text: str) -> bool:
    """The boolean value of the parameter `name`; UserError for a text that means neither yes nor no."""
    if text.lower() in TRUE_VALUES:
        return True
    if text.lower() in FALSE_VALUES:
        return False
    raise UserError(f'"{name}" must be yes or no, not "{printable(text)}"')


def is_null(text: str) -> bool:
    """Whether `text` is NULL, in any case, which clears a column."""
    return text.lower() == "null"


def check_text(what: str, text: str, longest: int) -> None:
    """UserError unless `text` fits its column and is one line; quotes, XML and shell characters are allowed."""
    if len(text) > longest:
        raise UserError(f"{what} is too long: {len(text)} characters, at most {longest} are stored")
    for character in text:
        if not character.isprintable():
            raise UserError(
                f'{what} "{printable(text)}" is not valid: {printable(character)} is not a printable character'
            )
