"""Which virtual function of a host each machine gets: from the pool and what is given already. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.mac_pool import full_mac
from rocks.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.cluster.vm_network import Function

MOST_FUNCTIONS = 256
"""No adapter has more; PCI Express counts a device's functions in eight bits."""


class AdapterRow(NamedTuple):
    """A host's adapter that gives so many virtual functions; `options` are those of its interface."""

    host: str
    device: str
    functions: int
    options: str


class AssignedVf(NamedTuple):
    """A row of `sriov_leases`: function `number` of `device` on `host` is the machine's, under its lease's token."""

    host: str
    device: str
    number: int
    name: str
    mac: str
    token: int


class Claimant(NamedTuple):
    """A machine that is about to start on a host under a lease, and the functions that its interfaces ask for."""

    name: str
    host: str
    token: int
    wanted: Sequence[Function]


def plan_vfs(
    claimant: Claimant, pool: Mapping[str, int], given: Iterable[AssignedVf]
) -> tuple[AssignedVf, ...]:
    """The functions that the machine gets: those that it has on this host already, else the lowest that are free.

    `pool` maps each device of the host to the number of functions that it gives; `given` are all rows of the host,
    claims of this same command included. StateError when a device gives none, or all of them are taken.
    """
    taken = list(given)
    claims: list[AssignedVf] = []
    for function in claimant.wanted:
        most = pool.get(function.device.lower(), 0)
        if not most:
            raise _gives_none(claimant, function)
        claims.append(_own(claimant, function, taken, most) or _lowest_free(claimant, function, taken, most))
        taken.append(claims[-1])
    return tuple(claims)


def vfs_left(rows: Iterable[AssignedVf], device: str, functions: int) -> list[AssignedVf]:
    """Rows that an adapter with so many functions has no place for."""
    return [row for row in rows if row.device.lower() == device.lower() and row.number >= functions]


def _own(claimant: Claimant, function: Function, taken: Sequence[AssignedVf], most: int) -> AssignedVf | None:
    mac = full_mac(function.mac)
    for row in _of_device(taken, function.device):
        if (row.name.lower(), row.mac, row.token) == (
            claimant.name.lower(),
            mac,
            claimant.token,
        ) and row.number < most:
            return row
    return None


def _lowest_free(
    claimant: Claimant, function: Function, taken: Sequence[AssignedVf], most: int
) -> AssignedVf:
    holders = {row.number: row.name for row in _of_device(taken, function.device)}
    for number in range(most):
        if number not in holders:
            mac = full_mac(function.mac)
            return AssignedVf(claimant.host, function.device, number, claimant.name, mac, claimant.token)
    raise StateError(
        f"{claimant.name} is not started: all {most} virtual functions of {function.device} on {claimant.host} are "
        f"taken, by {', '.join(sorted(set(holders.values())))}; stop one of them, choose another host (rocks set host "
        f"vm {claimant.name} physnode=HOST), or have the adapter give more (rocks set host sriov {claimant.host} "
        f"{function.device} NUMBER)"
    )


def _of_device(rows: Iterable[AssignedVf], device: str) -> list[AssignedVf]:
    return [row for row in rows if row.device.lower() == device.lower()]


def _gives_none(claimant: Claimant, function: Function) -> StateError:
    return StateError(
        f"{claimant.name} is not started: its interface {function.mac} asks for a virtual function of "
        f"{function.device} on {claimant.host}, which gives none: rocks set host sriov {claimant.host} "
        f"{function.device} NUMBER says how many, or take the option sriov from the interface (rocks set host "
        f"interface options {claimant.name} {function.mac} NULL)"
    )
