"""Partition keys of virtual clusters and their pool; GUIDs of ports. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.fleet.wire.requests import KeyMembership

# A key is stored as its low 15 bits, 0x0001 to 0x7ffe; the highest bit marks full members (InfiniBand Architecture
# Specification, volume 1, 10.9). 0x7fff is the default partition; 0 is not a key.

DEFAULT_PKEY = 0x7FFF
FULL_BIT = 0x8000
POOL_ATTRIBUTE = "ib_pkey_pool"

MEMBERSHIPS: tuple[KeyMembership, ...] = ("full", "limited")

_HIGHEST = DEFAULT_PKEY - 1
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5}")
_EXAMPLE = "0x0002-0x00ff"


def read_pkey(text: str) -> int:
    """The key in that text: hexadecimal after 0x, or decimal, with or without the bit of full members.

    UserError for any other text, for 0 and for the key of the default partition.

    >>> read_pkey("0x8002")
    2
    """
    number = int(text, 0 if text[1:2] in "xX" else 10) if _NUMBER.fullmatch(text) else 0
    key = number & ~FULL_BIT
    if number > 0xFFFF or not 1 <= key <= _HIGHEST:
        raise UserError(
            f'pkey "{printable(text)}" is not valid: give a number from 0x0001 to {pkey_text(_HIGHEST)}, such as 0x0002'
        )
    return key


def pkey_text(pkey: int) -> str:
    """Four hexadecimal digits after 0x."""
    return f"0x{pkey:04x}"


def read_membership(text: str) -> KeyMembership:
    """`full` or `limited`; UserError for another value."""
    for membership in MEMBERSHIPS:
        if text == membership:
            return membership
    raise UserError(f'membership "{printable(text)}" is not valid: it must be full or limited')


def read_pool(text: str) -> tuple[range, ...]:
    """The keys of a pool: numbers and ranges FIRST-LAST, separated by commas or blanks. StateError unless valid."""
    try:
        parts = [_part(part) for part in text.replace(",", " ").split()]
    except UserError as error:
        raise StateError(
            f'the attribute {POOL_ATTRIBUTE}="{printable(text)}" is not a pool of keys ({error}); set it as {_EXAMPLE}'
        ) from None
    return tuple(parts)


def next_pkey(pool: str, used: Collection[int]) -> int:
    """The lowest unused key of the pool; StateError, with the pool, when there is none."""
    keys = read_pool(pool)
    for part in keys:
        for key in part:
            if key not in used:
                return key
    if not keys:
        raise StateError(
            f"the site has no pool of InfiniBand partition keys: rocks set attr {POOL_ATTRIBUTE} {_EXAMPLE}"
        )
    raise StateError(
        f"all partition keys of the pool {POOL_ATTRIBUTE}={printable(pool)} are in use; remove clusters or their "
        "partitions (rocks list ib partition), or widen the pool"
    )


def _part(text: str) -> range:
    first_text, dash, last_text = text.partition("-")
    first = read_pkey(first_text)
    last = read_pkey(last_text) if dash else first
    if last < first:
        raise UserError(f'"{printable(text)}" ends before it begins')
    return range(first, last + 1)


# GUIDs of InfiniBand ports; those of virtual machines are derived from their names.

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


# Records of InfiniBand partitions: the key of each cluster and its member ports. Pure.


DEFAULT_MEMBERSHIP_ATTRIBUTE = "ib_default_membership"
DEFAULT_MEMBERSHIPS = ("both", "full", "limited", "none")
VIRTUAL = "virtual"


class Partition(NamedTuple):
    """A cluster's partition: its frontend, the low 15 bits of the key, the kind of its members, and whether IPoIB
    uses it.
    """

    frontend: str
    pkey: int
    membership: str
    has_ipoib: bool


class Port(NamedTuple):
    """A port of a physical host's adapter."""

    host: str
    device: str
    number: int
    guid: int


class PartitionMember(NamedTuple):
    """A member port of a partition: the key, the GUID, and its owner."""

    pkey: int
    guid: int
    owner: str


class PartitionTable(NamedTuple):
    """The partitions as published to the subnet manager: `default_membership` is one of `DEFAULT_MEMBERSHIPS`."""

    default_membership: str
    partitions: tuple[Partition, ...]
    members: tuple[PartitionMember, ...]


def check_default_membership(text: str) -> str:
    """The value of the attribute; StateError unless it is one of `DEFAULT_MEMBERSHIPS`."""
    if text not in DEFAULT_MEMBERSHIPS:
        raise StateError(
            f'the attribute {DEFAULT_MEMBERSHIP_ATTRIBUTE} is "{printable(text)}"; set it to '
            f"{', '.join(DEFAULT_MEMBERSHIPS[:-1])} or {DEFAULT_MEMBERSHIPS[-1]}"
        )
    return text


def check_sm(text: str) -> bool:
    """Whether the subnet manager sees ports of virtual machines, by the attribute `ib_sm`; StateError unless valid."""
    if text not in ("", VIRTUAL):
        raise StateError(f'the attribute ib_sm is "{printable(text)}"; set it to {VIRTUAL} or remove it')
    return text == VIRTUAL


def check_unique_guids(members: tuple[PartitionMember, ...]) -> None:
    """StateError when two owners have the same GUID: the subnet manager could not distinguish them."""
    owners: dict[int, str] = {}
    for member in members:
        other = owners.setdefault(member.guid, member.owner)
        if other != member.owner:
            raise StateError(
                f"{other} and {member.owner} have the same GUID {guid_text(member.guid)}; "
                "rocks list host ibport shows those of hosts"
            )
