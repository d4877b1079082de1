"""Give machines that are about to start the virtual functions that their interfaces ask for, under their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.describe_vm import connections_of
from rocks.cluster.mac_pool import full_mac
from rocks.cluster.start_plan import container_of
from rocks.cluster.vf_plan import Claimant, plan_vfs
from rocks.cluster.vm_network import Function
from rocks.database import virtual_functions as table
from rocks.wire.agent import VfSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.actions.lease_vm import Attempt
    from rocks.cluster.vf_plan import AssignedVf
    from rocks.database.connection import Database


def claim_vfs(database: Database, attempts: Sequence[Attempt]) -> None:
    """Record for each attempt which functions its machine gets, and put them into the attempt.

    An attempt whose host has none left fails alone. To be committed before a host is asked. No statement is sent when
    nobody asks for a function.
    """
    claimants = {attempt.vm.name: _claimant(attempt) for attempt in attempts}
    hosts = sorted({claimant.host for claimant in claimants.values() if claimant.wanted})
    if not hosts:
        return
    adapters = table.adapters_of(database, hosts, lock=True)
    given = table.assigned_on(database, hosts)
    claimed: list[AssignedVf] = []
    for attempt in attempts:
        claimant = claimants[attempt.vm.name]
        pool = {row.device.lower(): row.functions for row in adapters if _same(row.host, claimant.host)}
        with attempt.failing_alone():
            rows = plan_vfs(claimant, pool, [r for r in (*given, *claimed) if _same(r.host, claimant.host)])
            claimed.extend(row for row in rows if row not in given)
            attempt.functions = tuple(
                _wanted(function, row, pool) for function, row in zip(claimant.wanted, rows, strict=True)
            )
    table.assign_vfs(database, claimed)


def _claimant(attempt: Attempt) -> Claimant:
    functions = [one for one in connections_of(attempt.vm) if isinstance(one, Function)]
    return Claimant(attempt.vm.name, container_of(attempt.vm).name, attempt.token, functions)


def _wanted(function: Function, row: AssignedVf, pool: Mapping[str, int]) -> VfSpec:
    return VfSpec(
        device=function.parent,
        count=pool[function.device.lower()],
        number=row.number,
        mac=full_mac(function.mac),
        vlan=function.vlan,
        checks_source=function.checks_source,
        is_trusted=function.is_trusted,
    )


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
