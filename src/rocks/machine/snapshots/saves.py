"""Save running virtual machines: memory and devices to a file of their hosts; they continue at their next start.

The lease stays with the host, under the same token: nothing else starts the machine until it is restored, or what was
saved is discarded (decision 161).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError
from rocks.fleet.wire.requests import SaveDomain
from rocks.inventory.host_requests import error_of, open_fleet, perform_operations
from rocks.inventory.machine_locks import lock_vms
from rocks.machine import records as table
from rocks.machine.leases import records as leases
from rocks.machine.leases.epoch import ensure_epoch
from rocks.machine.leases.plan import SAVED
from rocks.machine.maxima import max_memory_mb
from rocks.machine.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease


def save_vms(
    database: Database,
    names: Sequence[str],
    notify: Callable[[str], None],
    progress: Progress | None = None,
) -> Outcomes:
    """Save the named machines; returns the outcome of each. Commits.

    A machine that is saved already stays so; one that cannot be saved runs on. StateError, and nothing is done, when a
    name is not that of a virtual machine.
    """
    ensure_epoch(database, notify)
    outcomes = Outcomes(failed=dict(lock_vms(database, names)))
    machines = [vm for vm in table.load_vms(database, names) if vm.name not in outcomes.failed]
    found = leases.read_leases(database, [vm.name for vm in machines], lock=True)
    operations: dict[str, list[SaveDomain]] = {}
    for vm in machines:
        lease = found.get(vm.name.lower())
        if lease is not None and lease.is_held and lease.host:
            save = SaveDomain(vm.name, lease.token, max_memory_mb(vm))
            operations.setdefault(lease.host, []).append(save)
        else:
            outcomes.failed[vm.name] = StateError(f"{vm.name} does not run, so there is nothing to save")
    database.commit()
    with open_fleet(database, sorted(operations)) as fleet:
        for name, outcome in perform_operations(database, fleet, operations, progress):
            error = error_of(outcome)
            if error is not None:
                outcomes.failed[name] = error
            elif not isinstance(outcome, RocksError):
                outcomes.done[name] = outcome.notes
    leases.set_state(database, list(outcomes.done), SAVED, None)
    database.commit()
    return outcomes


def check_saved(database: Database, names: Sequence[str]) -> None:
    """StateError unless each named machine is saved."""
    table.load_vms(database, names)
    found: Mapping[str, Lease] = leases.read_leases(database, names)
    for name in names:
        lease = found.get(name.lower())
        if lease is None or lease.state != SAVED:
            state = "off" if lease is None or not lease.is_held else f"{lease.state} on {lease.host}"
            raise StateError(
                f"{name} is not saved, by its lease it is {state}; rocks start host vm {name} starts a machine that is "
                "off or saved"
            )
    database.end_reading()
