"""Which known name a person probably meant."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_NAMES = 3
_SIMILARITY = 0.61
"""Above 0.6, at which `name` resembles `maxmem`."""

_LONGEST = 64
"""A longer text is nobody's mistyped name, and the comparison takes time that grows with its square."""


_SHORT, _LONG = 5, 13
"""A name below the first length is too short to be mistyped by an edit, except one that swaps two characters; from the
second on, two edits are few."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that resemble `name`, the nearest first; case, `-` and `_` are ignored.

    A name with the same characters in another order is the nearest: that is how people mistype.
    """
    if len(name) > _LONGEST:
        return []
    from difflib import get_close_matches

    plain = {_plain(other): other for other in known}
    typed = _plain(name)
    close = get_close_matches(typed, plain, _MAX_NAMES, _SIMILARITY)
    return [plain[text] for text in sorted(close, key=lambda text: sorted(text) != sorted(typed))]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean vc1 or vc2? ` for an error, before what lists the known names; empty where none resembles it."""
    near = nearest(name, known)
    return f"did you mean {' or '.join(near)}? " if near else ""


def mistyped(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name`, which is none of them, is one edit from, or two if it is long; None without one.

    Case, `-` and `_` are ignored. Names that differ in digits only are a series, as kvm_device_0 and kvm_device_1.
    """
    typed = _form(_plain(name))
    near = []
    for other in known:
        meant = _known_form(other)
        if len(meant.plain) < _SHORT:
            max_edits = int(sorted(typed.plain) == sorted(meant.plain))
        else:
            max_edits = 1 if len(meant.plain) < _LONG else 2
        # each edit brings at most one character that the other text does not have: most names need no comparison
        if (
            abs(len(typed.plain) - len(meant.plain)) <= max_edits
            and len(typed.characters - meant.characters) <= max_edits
            and len(meant.characters - typed.characters) <= max_edits
            and (typed.plain == meant.plain or typed.letters != meant.letters)
        ):
            edits = _edits(typed.plain, meant.plain)
            near += [(edits, other)] if edits <= max_edits else []
    return min(near)[1] if near else None


class _Form(NamedTuple):
    """A name in lower case without `-` and `_`; the same without digits; its characters."""

    plain: str
    letters: str
    characters: frozenset[str]


def _form(plain: str) -> _Form:
    letters = "".join(character for character in plain if not character.isdigit())
    return _Form(plain, letters, frozenset(plain))


@lru_cache(maxsize=2048)  # a load of a dump compares each of its attributes with the same names
def _known_form(name: str) -> _Form:
    return _form(_plain(name))


def _edits(one: str, other: str) -> int:
    """How many characters to insert, remove, replace or swap with the next one make the one text of the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, start=1):
        older, before, row = before, row, [place]
        for column, meant in enumerate(other, start=1):
            cost = min(before[column] + 1, row[-1] + 1, before[column - 1] + (character != meant))
            if place > 1 and column > 1 and one[place - 2] == meant and character == other[column - 2]:
                cost = min(cost, older[column - 2] + 1)
            row.append(cost)
    return row[-1]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
