"""Host selectors, sorted by kind. Pure; `inventory/host_records.py` resolves them with one statement."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL_NAMES = frozenset(("localhost", "127.0.0.1"))
OPERATING_SYSTEMS = ("linux", "sunos")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RACK = re.compile(r"rack(.*)", re.IGNORECASE | re.DOTALL)


class Selectors(NamedTuple):
    """Selectors by kind.

    `names` are looked up as appliance, node, alias, MAC, IP, UUID of a machine, interface name
    or FQDN; `patterns` contain a `%`;
    `racks` are rack numbers; `statements` are SQL texts; `local` is true when a selector names this machine itself.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    racks: tuple[int, ...]
    statements: tuple[str, ...]
    local: bool


def is_rack(text: str) -> bool:
    """Whether the text selects the hosts of a rack."""
    rack = _RACK.fullmatch(text)
    return rack is not None and rack.group(1).isdigit()


def is_uuid(text: str) -> bool:
    """Whether the text has the form of a machine's UUID."""
    return _UUID.fullmatch(text) is not None


def read_selectors(arguments: Iterable[str]) -> Selectors:
    """Sort the arguments of a command by kind of selector.

    An argument that starts with `rack` is always a rack selector. UserError when no number follows, and for an empty
    argument.
    """
    names: list[str] = []
    patterns: list[str] = []
    racks: list[int] = []
    statements: list[str] = []
    local = False
    for text in arguments:
        rack = _RACK.fullmatch(text)
        if text.split()[:1] == ["select"]:
            statements.append(text)
        elif "%" in text:
            patterns.append(text)
        elif rack:
            racks.append(_rack_number(text, rack.group(1)))
        elif text.lower() in LOCAL_NAMES:
            local = True
        elif not text.strip():
            raise UserError('cannot resolve host "": give the name of a host or another selector')
        else:
            names.append(text)
    return Selectors(tuple(names), tuple(patterns), tuple(racks), tuple(statements), local)


def _rack_number(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        from rocks.core.names import printable

        raise UserError(
            f'cannot resolve host "{printable(text)}": after "rack" a number must follow, as in rack0'
        )
    return int(digits)
