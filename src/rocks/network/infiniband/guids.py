"""GUIDs of InfiniBand ports; those of virtual machines are derived from their names. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable

_LOCAL = 0x02 << 56
"""The bit of locally administered EUI-64s. GUIDs of adapters never have it, so derived ones cannot equal them."""

_FORMS = re.compile(r"(?:0x)?[0-9a-f]{16}|[0-9a-f]{4}(?::[0-9a-f]{4}){3}|[0-9a-f]{2}(?::[0-9a-f]{2}){7}")
_ALL_ONES = (1 << 64) - 1


class Guids(NamedTuple):
    """The GUIDs of a virtual machine: that of its adapter (node) and that of the adapter's port."""

    node: int
    port: int


def read_guid(text: str) -> int:
    """A GUID in the notation of sysfs (`0002:c903:00a1:b2c3`), opensm (`0x0002c90300a1b2c3`) or `ip link`.

    UserError for any other text, for all zeros and for all ones.
    """
    number = int(text.lower().replace(":", ""), 16) if _FORMS.fullmatch(text.lower()) else 0
    if number in (0, _ALL_ONES):
        raise UserError(
            f'GUID "{printable(text)}" is not valid: it must be 16 hexadecimal digits, as 0x0002c90300a1b2c3'
        )
    return number


def guid_text(guid: int) -> str:
    """Sixteen hexadecimal digits after 0x."""
    return f"0x{guid:016x}"


def derive_guids(names: Iterable[str], taken: Collection[int]) -> dict[str, Guids]:
    """Name → GUIDs that are unused on the site. The same name yields the same GUIDs unless they are taken."""
    seen = set(taken)
    found = {}
    for name in names:
        attempt = 0
        while (guids := _derive(name, attempt)).node in seen or guids.port in seen:
            attempt += 1
        seen.update(guids)
        found[name] = guids
    return found


def _derive(name: str, attempt: int) -> Guids:
    text = f"{name.lower()}\0{attempt}" if attempt else name.lower()
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    node = _LOCAL | digest & ~3  # the ports of an adapter follow its own GUID
    return Guids(node, node | 1)
