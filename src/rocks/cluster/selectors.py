"""Host selectors: what kind each word is. Pure; `database/hosts.py` turns them into one statement."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL_NAMES = frozenset(("localhost", "127.0.0.1"))
_RACK = re.compile(r"rack(.*)", re.IGNORECASE | re.DOTALL)


class Selectors(NamedTuple):
    """Selector words by kind.

    `names` are looked up as appliance, node, alias, MAC, IP, interface name or FQDN; `patterns` hold a `%`;
    `racks` are rack numbers; `statements` are SQL texts; `local` says whether this machine itself is meant.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    racks: tuple[int, ...]
    statements: tuple[str, ...]
    local: bool


def read_selectors(words: Iterable[str]) -> Selectors:
    """Sort the words by kind.

    A word that starts with `rack` is always a rack selector; UserError when no number follows, and for an empty
    word.
    """
    names: list[str] = []
    patterns: list[str] = []
    racks: list[int] = []
    statements: list[str] = []
    local = False
    for word in words:
        rack = _RACK.fullmatch(word)
        if word.split()[:1] == ["select"]:
            statements.append(word)
        elif "%" in word:
            patterns.append(word)
        elif rack:
            racks.append(_rack_number(word, rack.group(1)))
        elif word.lower() in LOCAL_NAMES:
            local = True
        elif not word.strip():
            raise UserError('cannot resolve host "": give a host\'s name or another selector')
        else:
            names.append(word)
    return Selectors(tuple(names), tuple(patterns), tuple(racks), tuple(statements), local)


def _rack_number(word: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        from rocks.cluster.names import printable

        raise UserError(
            f'cannot resolve host "{printable(word)}": after "rack" a number must follow, as in rack0'
        )
    return int(digits)
