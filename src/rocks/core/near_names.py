"""Which known name a person probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_NAMES = 3
_SIMILARITY = 0.61
"""Above 0.6, at which `name` resembles `maxmem`."""

_LONGEST = 64
"""A longer text is nobody's mistyped name, and the comparison takes time that grows with its square."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that resemble `name`, the nearest first; case, `-` and `_` are ignored.

    A name with the same characters in another order is the nearest: that is how people mistype.
    """
    if len(name) > _LONGEST:
        return []
    from difflib import get_close_matches

    plain = {_plain(other): other for other in known}
    typed = _plain(name)
    close = get_close_matches(typed, plain, _MOST_NAMES, _SIMILARITY)
    return [plain[text] for text in sorted(close, key=lambda text: sorted(text) != sorted(typed))]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
