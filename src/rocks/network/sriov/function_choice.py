"""Assign virtual functions (SR-IOV) of a host to machines: from the pool and present assignments. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, StateError
from rocks.inventory.mac_pool import full_mac
from rocks.network.guest_connections import kernel_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.fleet.wire.facts import AdapterFact, VfFact
    from rocks.network.guest_connections import VirtualFunction


MAX_VFS = 256
"""The maximum of PCI Express, which numbers the functions of a device with eight bits."""


class AdapterRow(NamedTuple):
    """An adapter of a host, the number of its virtual functions, and the options of its interface."""

    host: str
    device: str
    vfs: int
    options: str


class AssignedVf(NamedTuple):
    """A row of `sriov_leases`: virtual function `number` of `device` on `host` is assigned to the machine `name`,
    under the token of its lease.
    """

    host: str
    device: str
    number: int
    name: str
    mac: str
    token: int


class Claimant(NamedTuple):
    """A machine that is about to start on a host under a lease, and the virtual functions that it requests."""

    name: str
    host: str
    token: int
    requested: Sequence[VirtualFunction]


def plan_vfs(
    claimant: Claimant, pool: Mapping[str, int], given: Iterable[AssignedVf]
) -> tuple[AssignedVf, ...]:
    """The virtual functions of the machine: those already assigned on this host, else the lowest free ones.

    `pool` maps each device of the host to the number of its virtual functions; `given` are all rows of the host,
    including claims of the same command. StateError when a device has none, or all are assigned.
    """
    taken = list(given)
    claims: list[AssignedVf] = []
    for vf in claimant.requested:
        most = pool.get(vf.device.lower(), 0)
        if not most:
            raise _no_vfs(claimant, vf)
        claims.append(_own(claimant, vf, taken, most) or _lowest_free(claimant, vf, taken, most))
        taken.append(claims[-1])
    return tuple(claims)


def vfs_left(rows: Iterable[AssignedVf], device: str, vfs: int) -> list[AssignedVf]:
    """The rows whose numbers exceed an adapter with so many virtual functions."""
    return [row for row in rows if row.device.lower() == device.lower() and row.number >= vfs]


def _own(
    claimant: Claimant, vf: VirtualFunction, taken: Sequence[AssignedVf], most: int
) -> AssignedVf | None:
    mac = full_mac(vf.mac)
    for row in _of_device(taken, vf.device):
        if (row.name.lower(), row.mac, row.token) == (
            claimant.name.lower(),
            mac,
            claimant.token,
        ) and row.number < most:
            return row
    return None


def _lowest_free(
    claimant: Claimant, vf: VirtualFunction, taken: Sequence[AssignedVf], most: int
) -> AssignedVf:
    holders = {row.number: row.name for row in _of_device(taken, vf.device)}
    for number in range(most):
        if number not in holders:
            mac = full_mac(vf.mac)
            return AssignedVf(claimant.host, vf.device, number, claimant.name, mac, claimant.token)
    raise StateError(
        f"{claimant.name} is not started: all {most} virtual functions of {vf.device} on {claimant.host} are "
        f"taken by {', '.join(sorted(set(holders.values())))}; stop one of them, choose another host (rocks set host "
        f"vm {claimant.name} physnode=HOST), or configure more (rocks set host sriov {claimant.host} "
        f"{vf.device} NUMBER)",
        code=Code.HOST_FULL,
    )


def _of_device(rows: Iterable[AssignedVf], device: str) -> list[AssignedVf]:
    return [row for row in rows if row.device.lower() == device.lower()]


def _no_vfs(claimant: Claimant, vf: VirtualFunction) -> StateError:
    return StateError(
        f"{claimant.name} is not started: its interface {vf.mac} asks for a virtual function of "
        f"{vf.device} on {claimant.host}, which has none; set their number (rocks set host sriov {claimant.host} "
        f"{vf.device} NUMBER), or remove the option sriov from the interface (rocks set host "
        f"interface options {claimant.name} {vf.mac} NULL)"
    )


# The listing of virtual functions: the pool and assignments in the database, and the facts of the hosts. Pure.


NO_ANSWER = "no answer"
ABSENT = "absent"


class VfRow(NamedTuple):
    """A line of the listing; `vm` and `mac` are None for an unassigned function."""

    host: str
    device: str
    number: int
    vm: str | None
    mac: str | None


def vf_rows(adapters: Iterable[AdapterRow], given: Iterable[AssignedVf]) -> list[VfRow]:
    """All functions of the adapters, and assigned functions of adapters that the database no longer has."""
    left = {(row.host.lower(), row.device.lower(), row.number): row for row in given}
    rows = []
    for adapter in adapters:
        for number in range(adapter.vfs):
            owner = left.pop((adapter.host.lower(), adapter.device.lower(), number), None)
            rows.append(
                VfRow(adapter.host, adapter.device, number, owner and owner.name, owner and owner.mac)
            )
    return rows + [VfRow(row.host, row.device, row.number, row.name, row.mac) for row in left.values()]


def now_cells(
    row: VfRow, adapters: Sequence[AdapterRow], answers: Mapping[str, Sequence[AdapterFact] | None]
) -> tuple[str | None, str | None, str]:
    """(PCI address, VLAN, user) of a function, as its host reports; `answers` has None for a host without a reply."""
    answer = answers.get(row.host)
    if answer is None:
        return (None, None, NO_ANSWER)
    options = next((a.options for a in adapters if (a.host, a.device) == (row.host, row.device)), "")
    fact = _find(answer, kernel_device(row.device, options), row.number)
    if fact is None:
        return (None, None, ABSENT)
    return (fact.address, str(fact.vlan or "") or None, fact.user or fact.use)


def _find(answer: Sequence[AdapterFact], device: str, number: int) -> VfFact | None:
    for adapter in answer:
        for vf in adapter.vfs:
            if (adapter.device, vf.number) == (device, number):
                return vf
    return None
