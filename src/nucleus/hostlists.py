"""Lists of hosts as Slurm writes them, read: `vm-vc2-[0-3,07-09],login`. `comet.client.hostlists` writes them."""

from __future__ import annotations

import re
from itertools import product

from rocks.core.errors import UserError

MAX_HOSTS = 100_000
"""How many names a list may stand for."""

MAX_OWNERS_NODES = 10_000
"""The same of an owner's list: the service makes the names of several at once."""

_MAX_NAME = 128
"""Characters of a name, as the database has them."""

_PART = re.compile(r"(?:[^\s,\[\]]|\[[^\[\]]*\])+")
_COMMA = re.compile(r", *(?=[^ ])")
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
_NUMBERS = re.compile(r"\d+")


def expand(text: str, most: int = MAX_HOSTS) -> list[str]:
    """The names in the order of the list, also with blanks after its commas; zeros before a low bound are kept.

    UserError for a list that is none, or stands for more names than `most`: before they are made.
    """
    names: list[str] = []
    place = 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise _wrong(text, f"a name is missing at position {place + 1}")
        found = _expand_part(text, part.group(), most - len(names))
        if found is None:
            raise _wrong(text, f"it has more than {most} names")
        names.extend(found)
        place = part.end()
        if place < len(text):
            comma = _COMMA.match(text, place)
            if comma is None:
                raise _wrong(text, f"{text[place]!r} at position {place + 1} does not belong there")
            place = comma.end()
    return names


def _expand_part(text: str, part: str, most: int) -> list[str] | None:
    """The names of a part; None for more than `most`."""
    choices: list[list[str]] = []
    count, length = 1, 0
    for bracket, plain in _PIECE.findall(part):
        ranges = [] if plain else _ranges_in(text, bracket)
        count *= 1 if plain else sum(high - low + 1 for low, high, _ in ranges)
        if count > most:
            return None
        numbers = ((number, width) for low, high, width in ranges for number in range(low, high + 1))
        choices.append([plain] if plain else [f"{number:0{width}}" for number, width in numbers])
        length += max(map(len, choices[-1]))
        if length > _MAX_NAME:
            raise _wrong(text, f"a name in it is longer than {_MAX_NAME} characters")
    return ["".join(pieces) for pieces in product(*choices)]


def _ranges_in(text: str, bracket: str) -> list[tuple[int, int, int]]:
    """(first number, last one, digits at least) of the ranges of a bracket."""
    ranges = []
    for item in bracket.split(","):
        found = _RANGE.fullmatch(item)
        if found is None:
            raise _wrong(text, f"[{bracket}] is not a list of numbers and ranges")
        low, high = found[1], found[2] or found[1]
        if int(low) > int(high):
            raise _wrong(text, f"the range {item} ends before it begins")
        ranges.append((int(low), int(high), len(low)))
    return ranges


def _wrong(text: str, why: str) -> UserError:
    excerpt = text if len(text) <= 60 else text[:57] + "..."
    return UserError(f"{excerpt!r} is not a list of hosts: {why}; an example is vm-vc2-[0-3,7],login")


def natural_key(name: str) -> tuple[tuple[str, int, int], ...]:
    """Sorts names as people do: vm-2 before vm-10."""
    key, place = [], 0
    for number in _NUMBERS.finditer(name):
        key.append((name[place : number.start()], int(number.group()), len(number.group())))
        place = number.end()
    return (*key, (name[place:], -1, 0))
