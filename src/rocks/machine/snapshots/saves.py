"""Save running virtual machines: memory and devices to a file of their hosts; they continue at their next start.

The lease stays with the host, under the same token: nothing else starts the machine until it is restored, or what was
saved is discarded (decision 161).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import HostFacts
from rocks.fleet.wire.requests import SaveDomain
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, lock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import RUNNING, SAVED
from rocks.machine import record as table
from rocks.machine.converge import Asked, Verb, converge
from rocks.machine.outcomes import Outcomes
from rocks.machine.spec import max_memory_mb, saved_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine


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
    converge(database, table.load_vms(database, names), _Save(), outcomes, progress)
    return outcomes


class _Save(Verb):
    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked:
        if lease is None or not lease.is_held or not lease.host:
            raise StateError(f"{vm.name} does not run, so there is nothing to save")
        return Asked(lease.host, SaveDomain(vm.name, lease.token, max_memory_mb(vm)))

    def record(self, database: Database, outcomes: Outcomes) -> None:
        leases.set_state(database, list(outcomes.done), SAVED)


def check_saved(database: Database, names: Sequence[str]) -> None:
    """StateError unless each named machine is saved, by its lease, or by its host: the answer to a save may be lost."""
    table.load_vms(database, names)
    found: Mapping[str, Lease] = leases.read_leases(database, names)
    hosts = sorted({lease.host for lease in found.values() if lease.state == RUNNING and lease.host})
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts)
    for name in names:
        lease = found.get(name.lower())
        answer = None if lease is None else facts.get(lease.host or "")
        if lease is not None and isinstance(answer, HostFacts) and saved_domain(answer, lease) is not None:
            continue
        if lease is None or lease.state != SAVED:
            state = "off" if lease is None or not lease.is_held else f"{lease.state} on {lease.host}"
            raise StateError(
                f"{name} is not saved, by its lease it is {state}; rocks start host vm {name} starts a machine that is "
                "off or saved"
            )
    database.end_reading()
