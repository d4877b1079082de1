"""Hostlists: `a[1-3,07-09]b[0-1],c` and back, and names of nodes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

from comet.client.errors import UsageError

LIMIT = 100_000
"""More names than this are refused, before they are made."""

_MAX_NAME = 128
"""Characters of a name, as the service has them."""

_PART = re.compile(r"(?:[^\s,\[\]]|\[[^\[\]]*\])+")
_COMMA = re.compile(r"\s*,\s*(?=\S)")
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_NUMBER = re.compile(r"([0-9]+)")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")


def check_names(names: Iterable[str]) -> None:
    """UsageError for a name that no node can have."""
    wrong = next((it for it in names if not _NAME.fullmatch(it)), None)
    if wrong is not None:
        raise UsageError(f"'{wrong}' is not a node's name: at most 63 letters, digits, _ and -")


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """A sort key in which vm-2 comes before vm-10."""
    parts = [it for it in _NUMBER.split(name) if it]
    # Python refuses to read a number of 5,000 digits
    return [(it.isdecimal(), int(it) if it.isdecimal() and len(it) < 1000 else 0, it) for it in parts]


def expand_hostlist(text: str) -> list[str]:
    """As `expand_repeated`; UsageError also for a name twice."""
    names = expand_repeated(text, LIMIT)
    doubled = next((name for name, count in Counter(names).items() if count > 1), None)
    if doubled is not None:
        raise UsageError(f"{_excerpt(text.strip())} names {doubled} twice: name every node once")
    return names


def expand_repeated(text: str, limit: int) -> list[str]:
    """Every name of a hostlist, in its order and as often as it is named; zeros before a low bound are kept.

    UsageError for what is none, and, before they are made, for too long names and more than `limit`.
    """
    names: list[str] = []
    found, place = text.strip(), 0
    while place < len(found) or not names:
        part = _PART.match(found, place)
        if part is None:
            raise _wrong(found, f"a name is missing at position {place + 1}")
        names += _expand_part(found, part.group(), limit, len(names))
        place = part.end()
        if place < len(found):
            comma = _COMMA.match(found, place)
            if comma is None:
                raise _wrong(found, f"{found[place]!r} at position {place + 1} does not belong there")
            place = comma.end()
    return names


def collect_hostlist(names: Iterable[str]) -> str:
    """The shortest hostlist of names with one range each, in natural order; zero padding stays."""
    split = [(name, _NUMBER.split(name)) for name in sorted(set(names), key=natural_key)]
    plain = [name for name, parts in split if len(parts) < 3 or len(parts[-2]) > 9]
    numbered = [("".join(it[:-2]), it[-1], it[-2]) for name, it in split if len(it) >= 3 and len(it[-2]) <= 9]
    padded = {
        (start, end, len(digits)) for start, end, digits in numbered if digits[0] == "0" and len(digits) > 1
    }
    groups: dict[tuple[str, str, int], list[int]] = {}
    for start, end, digits in numbered:
        width = len(digits) if (start, end, len(digits)) in padded else 0
        groups.setdefault((start, end, width), []).append(int(digits))
    collected = [_group(prefix, suffix, width, found) for (prefix, suffix, width), found in groups.items()]
    return ",".join(sorted(plain + collected, key=natural_key))


def _expand_part(text: str, part: str, limit: int, known: int) -> list[str]:
    choices: list[list[str]] = []
    count, length = 1, 0
    for bracket, plain in _PIECE.findall(part):
        ranges = [] if plain else _ranges_in(text, bracket)
        count *= 1 if plain else sum(high - low + 1 for low, high, _ in ranges)
        if count > limit - known:
            raise _wrong(text, f"it has more than {limit} names")
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
        found = _RANGE.fullmatch(item.strip())
        if found is None:
            raise _wrong(text, f"[{bracket}] is not a list of numbers and ranges")
        low, high = found[1], found[2] or found[1]
        if int(low) > int(high):
            raise _wrong(text, f"the range {item} ends before it begins")
        ranges.append((int(low), int(high), len(low)))
    return ranges


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"{_excerpt(text)} is not a list of hosts: {why}; an example is vm-vc2-[0-3,7],login")


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _group(prefix: str, suffix: str, width: int, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{numbers[0]:0{width}d}{suffix}"
    return f"{prefix}[{','.join(_ranges(sorted(numbers), width))}]{suffix}"


def _ranges(numbers: list[int], width: int) -> Iterator[str]:
    start = previous = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == previous + 1:
            previous = number
            continue
        yield f"{start:0{width}d}" + (f"-{previous:0{width}d}" if previous > start else "")
        start = previous = number
