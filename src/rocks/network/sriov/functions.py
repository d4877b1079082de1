"""Virtual functions (SR-IOV): how many an adapter offers, which one a starting machine gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.values import read_number
from rocks.fleet.wire.facts import AdapterSpec, AdaptersRequest
from rocks.fleet.wire.requests import VfSpec
from rocks.inventory.host_loading import which_are_vms
from rocks.inventory.host_requests import ask_each
from rocks.inventory.mac_pool import full_mac
from rocks.machine.domain.documents import connections_of
from rocks.machine.spec import container_of
from rocks.network.guest_connections import VirtualFunction, kernel_device
from rocks.network.interfaces import find_rows
from rocks.network.sriov import records as table
from rocks.network.sriov.plan import MAX_VFS, Claimant, plan_vfs, vfs_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import AdapterFact
    from rocks.machine.leases.leases import Attempt
    from rocks.network.sriov.plan import AssignedVf


def set_vfs(database: Database, hosts: Sequence[str], iface: str, vfs: str) -> None:
    """Record the number of virtual functions of the interface on each host; hosts are not contacted.

    UserError for an invalid number, a host without that interface, a virtual machine, or an interface that is not an
    adapter; StateError while a machine has a function that would be removed. Nothing is changed then.
    """
    number = read_number("functions", vfs, 0, MAX_VFS)
    for machine in which_are_vms(database, hosts):
        raise UserError(
            f"host {machine} is a virtual machine, and virtual functions belong to adapters of physical hosts; to "
            f"request one for {machine}: rocks set host interface options {machine} IFACE sriov"
        )
    rows = find_rows(database, hosts, iface)
    for row in rows:
        if not row.device or row.device.startswith("vlan"):
            raise UserError(
                f'interface "{iface}" of host {row.host} is not an adapter: name a physical device; rocks list host '
                f"interface {row.host} shows them"
            )
    table.adapters_of(database, hosts, lock=True)
    given = table.assigned_on(database, hosts)
    for row in rows:
        of_host = [one for one in given if one.host.lower() == row.host.lower()]
        for left in vfs_left(of_host, row.device or "", number):
            raise StateError(
                f"{left.name} may be using function {left.number} of {row.device} on {row.host}: stop it first (rocks "
                f"stop host vm {left.name}), or configure at least {left.number + 1}"
            )
    table.set_vfs(database, [row.id for row in rows], number)


LISTING_SECONDS = 20.0
"""How long a listing waits for a host."""

Answers = dict[str, tuple["AdapterFact", ...] | RocksError]
"""Host → its adapters, or its error."""


def ask_adapters(database: Database, hosts: Sequence[str]) -> Answers:
    """The adapters with virtual functions, as their hosts report them; nothing is changed."""
    return _ask(database, hosts, is_made=False, limit_seconds=LISTING_SECONDS)


def create_vfs(database: Database, hosts: Sequence[str]) -> Answers:
    """Configure the number of virtual functions in the database on the hosts; adapters that have it are unchanged."""
    return _ask(database, hosts, is_made=True, limit_seconds=None)


def _ask(database: Database, hosts: Sequence[str], *, is_made: bool, limit_seconds: float | None) -> Answers:
    specs: dict[str, list[AdapterSpec]] = {}
    for row in table.adapters_of(database, hosts):
        spec = AdapterSpec(kernel_device(row.device, row.options), row.vfs if is_made else 0)
        specs.setdefault(row.host, []).append(spec)
    database.commit()
    requests = {host: AdaptersRequest(tuple(specs[host])) for host in sorted(specs)}
    return {
        host: answer if isinstance(answer, RocksError) else answer.adapters
        for host, answer in ask_each(database, requests, limit_seconds)
    }


def claim_vfs(database: Database, attempts: Sequence[Attempt]) -> None:
    """Assign virtual functions to the machines of the attempts, in the database and in each attempt.

    An attempt whose host has no free function fails alone. The caller commits before a host is contacted. No statement
    is sent when no machine requests a function.
    """
    claimants = {attempt.vm.name: _claimant(attempt) for attempt in attempts}
    hosts = sorted({claimant.host for claimant in claimants.values() if claimant.requested})
    if not hosts:
        return
    adapters = table.adapters_of(database, hosts, lock=True)
    given = table.assigned_on(database, hosts)
    claimed: list[AssignedVf] = []
    for attempt in attempts:
        claimant = claimants[attempt.vm.name]
        pool = {row.device.lower(): row.vfs for row in adapters if _same(row.host, claimant.host)}
        with attempt.failing_alone():
            rows = plan_vfs(claimant, pool, [r for r in (*given, *claimed) if _same(r.host, claimant.host)])
            claimed.extend(row for row in rows if row not in given)
            attempt.vfs = tuple(
                _vf_spec(vf, row, pool) for vf, row in zip(claimant.requested, rows, strict=True)
            )
    table.assign_vfs(database, claimed)


def _claimant(attempt: Attempt) -> Claimant:
    vfs = [one for one in connections_of(attempt.vm) if isinstance(one, VirtualFunction)]
    return Claimant(attempt.vm.name, container_of(attempt.vm).name, attempt.token, vfs)


def _vf_spec(vf: VirtualFunction, row: AssignedVf, pool: Mapping[str, int]) -> VfSpec:
    return VfSpec(
        device=vf.parent,
        count=pool[vf.device.lower()],
        number=row.number,
        mac=full_mac(vf.mac),
        vlan=vf.vlan,
        checks_source=vf.checks_source,
        is_trusted=vf.is_trusted,
    )


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
