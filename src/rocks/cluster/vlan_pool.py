"""Which VLAN ids virtual clusters may have: the operator's pool, and the next free one of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.names import printable
from rocks.cluster.values import VLAN_HIGHEST
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

POOL_ATTRIBUTE = "vm_vlan_pool"
DEFAULT_POOL = f"2-{VLAN_HIGHEST}"
"""VLAN 1 is what switches call the untagged one."""


class VlanPool(NamedTuple):
    """Ranges of VLAN ids, first and last, as the operator wrote them in `text`; without him, any may be asked for."""

    text: str
    ranges: tuple[tuple[int, int], ...]
    is_default: bool

    def may_give(self, vlan: int) -> bool:
        """Whether clusters may have the VLAN id."""
        return self.is_default or any(first <= vlan <= last for first, last in self.ranges)


def read_pool(text: str) -> VlanPool:
    """The pool of the attribute's text, the default one where it is empty. StateError for what is none."""
    words = (text or DEFAULT_POOL).replace(",", " ").split()
    return VlanPool(text or DEFAULT_POOL, tuple(_read_range(word, text) for word in words), not text)


def plan_vlan(wanted: int | None, used: Iterable[int], pool: VlanPool) -> int:
    """A VLAN id for a new cluster: the wanted one, else the first free one of the pool.

    UserError when the wanted one is in use or not of the pool; StateError, naming the pool, when none is free.
    """
    taken = set(used)
    if wanted is not None:
        if not pool.may_give(wanted):
            raise UserError(
                f"Vlan ID ({wanted}) is not of the pool {pool.text} (attribute {POOL_ATTRIBUTE}); leave vlan= out and "
                "a free one is chosen"
            )
        if wanted in taken:
            raise UserError(f"Vlan ID ({wanted}) is in use; leave vlan= out and a free one is chosen")
        return wanted
    for first, last in pool.ranges:
        for vlan in range(first, last + 1):
            if vlan not in taken:
                return vlan
    raise StateError(
        f"could not find a free Vlan ID: all of the pool {pool.text} (attribute {POOL_ATTRIBUTE}) are in use; remove a "
        f"cluster, or widen the pool: rocks set attr {POOL_ATTRIBUTE} FIRST-LAST"
    )


def _read_range(word: str, text: str) -> tuple[int, int]:
    first, dash, last = word.partition("-")
    numbers = (first, last if dash else first)
    if all(number.isascii() and number.isdigit() and len(number) <= 4 for number in numbers):
        low, high = int(numbers[0]), int(numbers[1])
        if 1 <= low <= high <= VLAN_HIGHEST:
            return low, high
    raise StateError(
        f'the attribute {POOL_ATTRIBUTE} is "{printable(text)}", and "{printable(word)}" in it is no VLAN id from 1 to '
        f"{VLAN_HIGHEST} and no range of them; it must be like 100-199,300"
    )
