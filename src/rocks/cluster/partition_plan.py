"""InfiniBand partitions as records: which cluster has which key, and which ports are its members. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rocks.cluster.guids import guid_text
from rocks.cluster.names import printable
from rocks.errors import StateError

DEFAULT_MEMBERSHIP_ATTRIBUTE = "ib_default_membership"
DEFAULT_MEMBERSHIPS = ("both", "full", "limited", "none")
VIRTUAL = "virtual"


class Partition(NamedTuple):
    """A cluster's partition: its frontend, the key's low 15 bits, what its members are, and whether IPoIB has it."""

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
    """A port that is in a partition: the key, the GUID, and a word on whose it is."""

    pkey: int
    guid: int
    owner: str


class PartitionTable(NamedTuple):
    """All that the subnet manager is told: `default_membership` is one of `DEFAULT_MEMBERSHIPS`."""

    default_membership: str
    partitions: tuple[Partition, ...]
    members: tuple[PartitionMember, ...]


def check_default_membership(text: str) -> str:
    """The attribute's value; StateError when it is none of the words that it may be."""
    if text not in DEFAULT_MEMBERSHIPS:
        raise StateError(
            f'the attribute {DEFAULT_MEMBERSHIP_ATTRIBUTE} is "{printable(text)}"; set it to '
            f"{', '.join(DEFAULT_MEMBERSHIPS[:-1])} or {DEFAULT_MEMBERSHIPS[-1]}"
        )
    return text


def check_sm(text: str) -> bool:
    """Whether the attribute `ib_sm` says that the subnet manager sees the ports of virtual machines."""
    if text not in ("", VIRTUAL):
        raise StateError(f'the attribute ib_sm is "{printable(text)}"; set it to {VIRTUAL} or remove it')
    return text == VIRTUAL


def refuse_shared_guids(members: tuple[PartitionMember, ...]) -> None:
    """StateError when one GUID stands for two owners: their guests would be mistaken for each other."""
    owners: dict[int, str] = {}
    for member in members:
        other = owners.setdefault(member.guid, member.owner)
        if other != member.owner:
            raise StateError(
                f"{other} and {member.owner} have the same GUID {guid_text(member.guid)}; "
                "rocks list host ibport shows those of hosts"
            )
