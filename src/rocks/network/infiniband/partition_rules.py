"""Records of InfiniBand partitions: the key of each cluster and its member ports. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.network.infiniband.pkeys import guid_text

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
