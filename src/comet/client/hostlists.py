"""Hostlists: `a[1-3,07-09]b[0-1],c` and back (specification §5.3), and names of nodes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from comet.client.errors import UsageError

LIMIT = 100_000
"""More names than this are refused, before they are made."""

_PART = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
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
    return [(it.isdecimal(), int(it) if it.isdecimal() else 0, it) for it in parts]


def expand_hostlist(text: str) -> list[str]:
    """Every name of a hostlist, in its order. UsageError for bad brackets, falling ranges, duplicates, too many."""
    names: list[str] = []
    for item in _items(text):
        names += _expand_item(item, text, LIMIT - len(names))
    doubled = next((name for name, count in Counter(names).items() if count > 1), None)
    if doubled is not None:
        raise UsageError(f"hostlist '{text}' names {doubled} twice: name every node once")
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


def _items(text: str) -> list[str]:
    depth, items = 0, [""]
    for character in text.strip():
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth not in (0, 1):
            raise UsageError(f"hostlist '{text}' has brackets that do not match: for example vm-[0-3,7]")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    if depth or not all(item.strip() for item in items):
        raise UsageError(
            f"hostlist '{text}' has brackets that do not match, or an empty name: for example vm-[0-3]"
        )
    return [item.strip() for item in items]


def _expand_item(item: str, text: str, remaining: int) -> list[str]:
    names = [""]
    for index, part in enumerate(_PART.split(item)):
        choices = [part] if index % 2 == 0 else _numbers(part, text)
        if len(names) * len(choices) > remaining:
            raise UsageError(f"hostlist '{text}' means more than {LIMIT} names")
        names = [name + choice for name in names for choice in choices]
    return names


def _numbers(part: str, text: str) -> list[str]:
    found: list[str] = []
    for piece in part.split(","):
        match = _RANGE.fullmatch(piece.strip())
        low, high = (match[1], match[2] or match[1]) if match else ("1", "0")
        if int(low) > int(high):
            raise UsageError(f"hostlist '{text}': '{piece}' is not a number or a rising range such as 0-3")
        if int(high) - int(low) >= LIMIT - len(found):
            raise UsageError(f"hostlist '{text}' means more than {LIMIT} names")
        found += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return found


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
