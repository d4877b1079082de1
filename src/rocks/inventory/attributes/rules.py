"""Attributes that the system reads, and the resolution of scopes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_attribute_name, printable
from rocks.core.version import rocks_version_attributes
from rocks.inventory.attributes.known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Check = Callable[[str], object]


SOURCE_LETTERS = {"global": "G", "os": "O", "appliance": "A", "host": "H"}
"""Scope → its letter in listings. No host belongs to the scope `rack`."""

INTRINSIC = ("hostname", "rack", "rank", "appliance", "membership")
SYSTEM_SET = (*INTRINSIC, *rocks_version_attributes())
"""The attributes that no command sets."""
INTRINSIC_SOURCE = "I"
FORCED_SOURCE = "G"
OLD_SUFFIX = "_old"
"""Suffix of the attribute that stores the value before the last `set`."""

NAME_LONGEST = 128 - len(OLD_SUFFIX)
VALUE_LONGEST_BYTES = 65535


class Member(NamedTuple):
    """The name of a host and the scopes that it belongs to; they determine its attributes."""

    hostname: str
    os: str
    appliance: str
    membership: str
    rack: str
    rank: str
    arch: str


class Stored(NamedTuple):
    """An attribute as stored: scope, member of the scope, precedence (higher wins), name, value."""

    scope: str
    member: str
    precedence: int
    name: str
    value: str


class Resolved(NamedTuple):
    """The value of an attribute for a host, with the letter of the scope that supplied it."""

    value: str
    source: str


def check_name(name: str) -> None:
    """UserError unless `name` is valid for an attribute, and for its old value with `OLD_SUFFIX`."""
    check_attribute_name(name)
    if len(name) > NAME_LONGEST and not is_old(name):
        raise UserError(
            f'attribute "{printable(name)}" is not valid: it must be 1 to {NAME_LONGEST} characters'
        )
    if name.lower() in SYSTEM_SET:
        remedy = "; of a host, rocks set host name, rack, rank or membership" * (name.lower() in INTRINSIC)
        raise UserError(f"the system sets the attribute {name} itself{remedy}")
    if name.lower() == "help":
        raise UserError(f'attribute "{name}" is not valid: every command prints its help for that argument')


def near_miss(name: str) -> str | None:
    """The attribute that the system reads and that a person who typed `name` probably meant; None for other names."""
    from rocks.core.near_names import mistyped

    return None if is_old(name) or name.lower() in _SPELLING else mistyped(name, KNOWN)


def check_value(value: str) -> None:
    """UserError for a value that is too long; any text is valid, including newlines."""
    length_bytes = len(value.encode())
    if length_bytes > VALUE_LONGEST_BYTES:
        raise UserError(
            f'the value "{printable(value)}" is too long: {length_bytes} bytes, '
            f"at most {VALUE_LONGEST_BYTES} are stored"
        )


def is_old(name: str) -> bool:
    """Whether the attribute stores the old value of another one."""
    return name.lower().endswith(OLD_SUFFIX)


def known_spelling(name: str) -> str:
    """`name` in the spelling of `KNOWN` and the intrinsic attributes, when it differs from one of them in case only."""
    return _SPELLING.get(name.lower(), name)


def resolve(
    members: Iterable[Member], stored: Iterable[Stored], forced: Mapping[str, str]
) -> dict[str, dict[str, Resolved]]:
    """Host → attribute → value, for each member; as `resolving`."""
    return dict(resolving(members, stored, forced)())


def resolving(
    members: Iterable[Member], stored: Iterable[Stored], forced: Mapping[str, str]
) -> Callable[[], Iterator[tuple[str, dict[str, Resolved]]]]:
    """What makes the attributes of one member after the other, at each call anew: (host, attribute → value).

    Forced attributes override stored ones, and stored ones override intrinsic ones; among stored ones the highest
    precedence wins. Names that differ in case only are one attribute. Its spelling is that of `KNOWN`, else that of
    the winner.
    """
    layers: dict[tuple[str, str], dict[str, tuple[str, Resolved]]] = {}
    precedences: dict[str, int] = {}
    known = (row for row in stored if row.scope in SOURCE_LETTERS)
    for row in sorted(known, key=lambda row: row.precedence):
        layer = layers.setdefault((row.scope, row.member.lower()), {})
        layer[row.name.lower()] = (known_spelling(row.name), Resolved(row.value, SOURCE_LETTERS[row.scope]))
        precedences[row.scope] = row.precedence
    scopes = sorted(SOURCE_LETTERS, key=lambda scope: precedences.get(scope, 0))
    last = {name: (name, Resolved(value, FORCED_SOURCE)) for name, value in forced.items()}

    def each() -> Iterator[tuple[str, dict[str, Resolved]]]:
        for member in members:
            own = [layers.get(place, {}) for place in _places(member, scopes)]
            yield member.hostname, _resolve_one(member, own, last)

    return each


def _places(member: Member, scopes: Iterable[str]) -> list[tuple[str, str]]:
    """(scope, member of it in lower case) whose attributes a host has, in the order of the scopes."""
    mine = {"global": "global", "os": member.os, "appliance": member.appliance, "host": member.hostname}
    return [(scope, mine[scope].lower()) for scope in scopes]


def _resolve_one(
    member: Member,
    layers: Iterable[Mapping[str, tuple[str, Resolved]]],
    forced: Mapping[str, tuple[str, Resolved]],
) -> dict[str, Resolved]:
    """Tens of thousands of hosts share the values of the layers, so that they take little memory."""
    found = {name: (name, Resolved(getattr(member, name), INTRINSIC_SOURCE)) for name in INTRINSIC}
    for layer in layers:
        found.update(layer)
    if member.arch:
        found["arch"] = ("arch", Resolved(member.arch, FORCED_SOURCE))
    found.update(forced)
    return dict(found.values())


SECRETS = tuple(name for name, known in KNOWN.items() if known.is_secret)
"""The known attributes that only root may read."""

PROGRAMS = tuple(name for name, known in KNOWN.items() if known.is_program)
"""The known attributes that name a program which this system runs as root."""

_SPELLING = {name.lower(): name for name in (*KNOWN, *INTRINSIC)}


def is_known_secret(name: str) -> bool:
    """Whether the system stores the attribute where only root reads it."""
    return name.lower().removesuffix(OLD_SUFFIX) in SECRETS
