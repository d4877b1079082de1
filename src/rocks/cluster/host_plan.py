"""What a new host is to be: its name's form supplies what is not said. Pure. Source: specification §4.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rocks.cluster.names import check_host_name, parse_place, printable
from rocks.cluster.values import read_number
from rocks.errors import UserError

OPERATING_SYSTEMS = ("linux", "sunos")


class Membership(NamedTuple):
    """A membership: the database's number for it, its name, its appliance, and the appliance's system."""

    id: int
    name: str
    appliance: str
    os: str


class HostParameters(NamedTuple):
    """A new host as it was asked for; None is what was not said."""

    name: str
    membership: str | None = None
    cpus: str | None = None
    rack: str | None = None
    rank: str | None = None
    os: str | None = None


class NewHost(NamedTuple):
    """A new host: a row of `nodes`."""

    name: str
    membership_id: int
    cpus: int
    rack: int
    rank: int
    os: str
    run_action: str | None = "os"
    install_action: str | None = "install"


def plan_host(words: HostParameters, appliances: Iterable[str], memberships: Iterable[Membership]) -> NewHost:
    """The host that the words mean.

    A name such as `compute-0-1` of an existing appliance supplies membership, rack and rank; what is said beats
    it. UserError for a name, a number, a membership or a system that is none, and for what stays unknown.
    """
    check_host_name(words.name, {appliance.lower() for appliance in appliances})
    known = list(memberships)
    words = _with_place(words, known)
    for value, name in ((words.membership, "membership"), (words.rack, "rack"), (words.rank, "rank")):
        if not value:
            raise UserError(
                f"{name} not specified: say {name}=…, or name the host after its place, as compute-0-1"
            )
    assert words.membership and words.rack and words.rank
    membership = find_membership(words.membership, known)
    if membership is None:
        raise UserError(
            f"Membership {printable(words.membership)} is not valid. rocks list membership shows those that are."
        )
    return NewHost(
        words.name,
        membership.id,
        read_number("cpus", words.cpus if words.cpus is not None else "1", 1),
        read_number("rack", words.rack, 0),
        read_number("rank", words.rank, 0),
        _read_os(words.os) if words.os else membership.os,
    )


def find_membership(name: str, memberships: Iterable[Membership]) -> Membership | None:
    """The membership of that name, whatever its case."""
    return next((found for found in memberships if found.name.lower() == name.lower()), None)


def _with_place(words: HostParameters, memberships: list[Membership]) -> HostParameters:
    place = parse_place(words.name)
    if place is None:
        return words
    appliance, rack, rank = place
    of_appliance = [found.name for found in memberships if found.appliance.lower() == appliance.lower()]
    if not of_appliance:
        return words
    return words._replace(
        membership=words.membership or of_appliance[0],
        rack=words.rack or str(rack),
        rank=words.rank or str(rank),
    )


def _read_os(text: str) -> str:
    if text.lower() not in OPERATING_SYSTEMS:
        raise UserError(f'unknown os "{printable(text)}"; there are {" and ".join(OPERATING_SYSTEMS)}')
    return text.lower()
