"""Lines of /etc/hosts for the hosts of the site. Pure. Source: hosts(5), specification §4.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.network.dns.names import NamedAddress

_MAX_NAMES = 30
"""On a line: glibc 2.36 reads lines of any length, other readers only 35 aliases; the rest gets lines of its own."""


def hosts_lines(addresses: Iterable[NamedAddress]) -> str:
    """A line `ADDRESS<tab>NAME.ZONE NAME ALIAS…` for each address."""
    return "".join(_line(one) for one in addresses)


def _line(one: NamedAddress) -> str:
    names = [one.full_name, *(name for name in one.others if name.lower() != one.full_name)]
    pieces = [names[start : start + _MAX_NAMES] for start in range(0, len(names), _MAX_NAMES)]
    return "".join(f"{one.address}\t{' '.join(piece)}\n" for piece in pieces)
