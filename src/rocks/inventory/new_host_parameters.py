"""Plan a new host: the form of its name supplies missing parameters. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_new_host_name, parse_place, printable
from rocks.core.values import read_number
from rocks.inventory.limits import MAX_CPUS
from rocks.inventory.selectors import OPERATING_SYSTEMS


class Membership(NamedTuple):
    """A membership: its ID in the database, its name, its appliance, and the appliance's operating system."""

    id: int
    name: str
    appliance: str
    os: str


class HostParameters(NamedTuple):
    """The parameters of a new host; None for a parameter that is not given."""

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


def plan_host(
    parameters: HostParameters, appliances: Iterable[str], memberships: Iterable[Membership]
) -> NewHost:
    """The host that the parameters describe.

    A name such as `compute-0-1` of an existing appliance supplies membership, rack and rank; parameters override it.
    UserError for an invalid name, number, membership or operating system, and for a missing parameter.
    """
    check_new_host_name(parameters.name, {appliance.lower() for appliance in appliances})
    known = list(memberships)
    parameters = _with_place(parameters, known)
    for value, name in (
        (parameters.membership, "membership"),
        (parameters.rack, "rack"),
        (parameters.rank, "rank"),
    ):
        if not value:
            raise UserError(
                f"{name} not specified: give {name}=…, or name the host after its place, as compute-0-1"
            )
    assert parameters.membership and parameters.rack and parameters.rank
    membership = existing_membership(parameters.membership, known)
    return NewHost(
        parameters.name,
        membership.id,
        read_number("cpus", parameters.cpus if parameters.cpus is not None else "1", 1, MAX_CPUS),
        read_number("rack", parameters.rack, 0),
        read_number("rank", parameters.rank, 0),
        _read_os(parameters.os) if parameters.os else membership.os,
    )


def find_membership(name: str, memberships: Iterable[Membership]) -> Membership | None:
    """The membership of that name, compared without case."""
    return next((found for found in memberships if found.name.lower() == name.lower()), None)


def existing_membership(name: str, memberships: Sequence[Membership]) -> Membership:
    """As `find_membership`. UserError when there is none."""
    found = find_membership(name, memberships)
    if found is None:
        from rocks.core.near_names import did_you_mean

        meant = did_you_mean(name, [one.name for one in memberships])
        raise UserError(
            f"Membership {printable(name)} is not valid. {meant}rocks list membership shows valid ones."
        )
    return found


def _with_place(parameters: HostParameters, memberships: list[Membership]) -> HostParameters:
    place = parse_place(parameters.name)
    if place is None:
        return parameters
    appliance, rack, rank = place
    of_appliance = [found.name for found in memberships if found.appliance.lower() == appliance.lower()]
    if not of_appliance:
        return parameters
    return parameters._replace(
        membership=parameters.membership or of_appliance[0],
        rack=parameters.rack or str(rack),
        rank=parameters.rank or str(rank),
    )


def _read_os(text: str) -> str:
    if text.lower() not in OPERATING_SYSTEMS:
        raise UserError(f'unknown os "{printable(text)}"; it must be {" or ".join(OPERATING_SYSTEMS)}')
    return text.lower()
