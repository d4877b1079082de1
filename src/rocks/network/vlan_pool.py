"""The operator's pool of VLAN ids for virtual clusters, and the next free one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.network.limits import LEAST_VLAN_ID, MAX_VLAN_ID

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_VLAN_POOL = f"2-{MAX_VLAN_ID}"
"""VLAN ids of virtual clusters, attribute `vm_vlan_pool`: without 1, the default untagged VLAN of switches."""

POOL_ATTRIBUTE = "vm_vlan_pool"


class VlanPool(NamedTuple):
    """Ranges of VLAN ids, first and last, and their text; with the default pool any VLAN id may be requested."""

    text: str
    ranges: tuple[tuple[int, int], ...]
    is_default: bool

    def may_give(self, vlan: int) -> bool:
        """Whether a cluster may use the VLAN id."""
        return self.is_default or any(first <= vlan <= last for first, last in self.ranges)


def read_pool(text: str) -> VlanPool:
    """The pool in the text of the attribute, the default pool when it is empty. StateError unless valid."""
    parts = (text or DEFAULT_VLAN_POOL).replace(",", " ").split()
    return VlanPool(text or DEFAULT_VLAN_POOL, tuple(_read_range(part, text) for part in parts), not text)


def plan_vlan(requested: int | None, used: Iterable[int], pool: VlanPool) -> int:
    """A VLAN id for a new cluster: the requested one, else the first free one of the pool.

    UserError when the requested one is in use or outside the pool; StateError, with the pool, when none is free.
    """
    taken = set(used)
    if requested is not None:
        if not pool.may_give(requested):
            raise UserError(
                f"Vlan ID ({requested}) is outside the pool {pool.text} (attribute {POOL_ATTRIBUTE}); without vlan= a "
                "free one is chosen"
            )
        if requested in taken:
            raise UserError(f"Vlan ID ({requested}) is in use; without vlan= a free one is chosen")
        return requested
    for first, last in pool.ranges:
        for vlan in range(first, last + 1):
            if vlan not in taken:
                return vlan
    raise StateError(
        f"could not find a free Vlan ID: the pool {pool.text} (attribute {POOL_ATTRIBUTE}) is exhausted; remove a "
        f"cluster, or widen the pool: rocks set attr {POOL_ATTRIBUTE} FIRST-LAST"
    )


def _read_range(part: str, text: str) -> tuple[int, int]:
    first, dash, last = part.partition("-")
    numbers = (first, last if dash else first)
    if all(number.isascii() and number.isdigit() and len(number) <= 4 for number in numbers):
        low, high = int(numbers[0]), int(numbers[1])
        if LEAST_VLAN_ID <= low <= high <= MAX_VLAN_ID:
            return low, high
    raise StateError(
        f'the attribute {POOL_ATTRIBUTE} is "{printable(text)}", and "{printable(part)}" is not a VLAN id from '
        f"{LEAST_VLAN_ID} to {MAX_VLAN_ID} or a range of VLAN ids; it must be like 100-199,300"
    )
