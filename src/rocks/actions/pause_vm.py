"""Pause virtual machines, and let them go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.ask_hosts import ask_facts, error_of, perform_operations
from rocks.actions.outcomes import Outcomes
from rocks.actions.reach_hosts import open_fleet
from rocks.actions.vm_locks import lock_vms
from rocks.cluster.lease_plan import place_of
from rocks.database import leases
from rocks.database import vms as table
from rocks.errors import RocksError, StateError
from rocks.wire.agent import PauseDomain, ResumeDomain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def pause_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Halt the named machines where they stand; returns each one's outcome."""
    return _ask_each(database, names, PauseDomain)


def resume_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Let the named machines go on; returns each one's outcome."""
    return _ask_each(database, names, ResumeDomain)


def _ask_each(
    database: Database, names: Sequence[str], operation: type[PauseDomain] | type[ResumeDomain]
) -> Outcomes:
    machines = table.load_vms(database, names)
    outcomes = Outcomes(failed=dict(lock_vms(database, [vm.name for vm in machines])))
    held = leases.read_leases(database, [vm.name for vm in machines])
    operations: dict[str, list[PauseDomain | ResumeDomain]] = {}
    for vm in machines:
        lease = held.get(vm.name.lower())
        place = place_of(vm, lease)
        if vm.name in outcomes.failed:
            continue
        if place is None:
            outcomes.failed[vm.name] = StateError(
                f"virtual host {vm.name} does not have a valid physical host, so it does not run"
            )
        else:
            operations.setdefault(place, []).append(operation(vm.name, lease.token if lease else None))
    with open_fleet(database, sorted(operations)) as fleet:
        facts = ask_facts(database, fleet, sorted(operations))
        for host in [host for host, answer in facts.items() if isinstance(answer, RocksError)]:
            answer = facts[host]
            assert isinstance(answer, RocksError)
            outcomes.failed.update({wanted.name: answer for wanted in operations.pop(host)})
        for name, outcome in perform_operations(fleet, operations):
            error = error_of(outcome)
            if error is not None:
                outcomes.failed[name] = error
            elif not isinstance(outcome, RocksError):
                outcomes.done[name] = outcome.notes
    return outcomes
