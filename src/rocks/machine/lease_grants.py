"""Leases of virtual machines: taken before a start, settled by facts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError
from rocks.fleet.wire.domain_states import is_active
from rocks.inventory.host_requests import is_silent, may_be_off
from rocks.leases import lease as leases
from rocks.leases.plan import (
    RUNNING,
    SAVED,
    STOPPING,
    AskHolder,
    KeepLease,
    TakeLease,
    continues,
    disk_keys,
    holder_cannot_be_asked,
    holder_is_silent,
    plan_lease,
    saved_elsewhere,
    still_at_work,
)
from rocks.machine.spec import container_of, saved_domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import StartDomain
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.leases.plan import DiskKey, LeaseStep
    from rocks.machine.placement import Placement
    from rocks.machine.spec import MachineSpec


@dataclass
class Attempt:
    """One machine of a start command. `notes` are set when it runs, `error` when it does not.

    `lease_is_unused`: this command took the lease, and no host received a request under it, or its host has ended it
    since; the lease is released when the attempt fails. `may_run`: the domain is active on its host, or its start was
    requested and the host has not ended its lease since. `is_saved`: it is to continue from its saved memory.
    `request` is there from `spec` on; providers add to it.
    """

    vm: VirtualMachine
    step: LeaseStep | None = None
    token: int = 0
    lease_is_unused: bool = False
    may_run: bool = False
    is_saved: bool = False
    spec: MachineSpec | None = None
    request: StartDomain = field(init=False, repr=False, compare=False)
    placement: Placement | None = None
    notes: tuple[str, ...] | None = None
    error: RocksError | None = None

    @property
    def is_open(self) -> bool:
        """Whether the attempt has neither succeeded nor failed yet."""
        return self.notes is None and self.error is None

    @property
    def is_certainly_off(self) -> bool:
        """Whether this command held the lease of the machine, and the machine certainly does not run.

        Under a lease of an earlier start an agent may still be working.
        """
        if self.step is None or self.notes is not None or self.may_run:
            return False
        return self.lease_is_unused or not isinstance(self.step, KeepLease)

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Record an error as that of this attempt, so that the others continue."""
        try:
            yield
        except RocksError as error:
            self.error = error


def still_open(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that have not ended."""
    return [attempt for attempt in attempts if attempt.is_open]


def take_free_leases(database: Database, attempts: Sequence[Attempt]) -> None:
    """Read the leases under lock, take those that are free for each machine's container, and commit."""
    machines = [attempt.vm for attempt in still_open(attempts)]
    held = leases.read_leases(database, [vm.name for vm in machines], lock=True)
    holders = leases.disk_holders(database, [key for vm in machines for key in disk_keys(vm)])
    for attempt in still_open(attempts):
        vm = attempt.vm
        with attempt.failing_alone():
            attempt.step = plan_lease(vm, held.get(vm.name.lower()), holders)
            # Two machines of one command may have the same disk as well.
            holders = {**dict.fromkeys(disk_keys(vm), vm.name), **holders}
    _take(database, [a for a in still_open(attempts) if isinstance(a.step, TakeLease)])
    database.commit()


def settle_leases(
    database: Database, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]
) -> None:
    """Settle leases that were held: a new token when the host has ended the old lease, else the old one.

    That the domain does not run is not enough: an agent that is late could still start it. So the facts were requested
    with `leases_to_end`; after that no start under the old token is admitted, wherever the new lease is. An
    interrupted start keeps its token on its host, where its agent may still be working towards the same state. A
    lease that moves leaves a fence on its old host, which may still have the definition and would start it at its next
    boot.
    """
    free: list[Attempt] = []
    continued: dict[str, tuple[DiskKey, ...]] = {}
    fences: list[tuple[str, str, int]] = []
    for attempt in still_open(attempts):
        step = attempt.step
        if isinstance(step, TakeLease) or step is None:
            continue
        with attempt.failing_alone():
            answer = _facts_of_holder(step.lease, facts)
            runs = is_active(answer, step.lease.name)
            attempt.is_saved = step.lease.state == SAVED or saved_domain(answer, step.lease) is not None
            if attempt.is_saved and isinstance(step, AskHolder):
                raise saved_elsewhere(step.lease, step.host)
            if attempt.is_saved:
                attempt.token = step.lease.token  # its disks stay those that it was saved with
            elif continues(step) or (runs and isinstance(step, KeepLease)):
                attempt.token = step.lease.token
                continued[attempt.vm.name] = disk_keys(attempt.vm)
            elif _has_ended(step.lease, answer):
                free.append(attempt)
                if isinstance(step, AskHolder) and step.lease.host:
                    fences.append((step.lease.host, attempt.vm.name, step.lease.token + 1))
            elif not runs or not isinstance(step, AskHolder):
                raise still_at_work(step.lease)
            else:
                raise StateError(
                    f"The host {attempt.vm.name} is already running on {step.lease.host}; before it can start on "
                    f"{step.host}, stop it there: rocks stop host vm {attempt.vm.name}"
                )
    leases.cover_disks(database, continued)
    leases.put_up_fences(database, fences)
    _take(database, free)


def was_running(attempt: Attempt) -> bool:
    """Whether the lease was recorded as running before this command, and not as an interrupted start."""
    return isinstance(attempt.step, KeepLease) and attempt.step.lease.state == RUNNING


def was_stopping(attempt: Attempt) -> bool:
    """Whether a stop of it began and did not end: its host may still be at work on that."""
    return isinstance(attempt.step, KeepLease) and attempt.step.lease.state == STOPPING


def release_unused(database: Database, attempts: Sequence[Attempt]) -> None:
    """Release the leases of machines that certainly do not run."""
    unused = [attempt for attempt in attempts if attempt.lease_is_unused and attempt.notes is None]
    leases.release_keeping_reasons(database, [attempt.vm.name for attempt in unused])
    for attempt in unused:
        attempt.lease_is_unused = False


def _take(database: Database, attempts: Sequence[Attempt]) -> None:
    requested = {a.vm.name: (container_of(a.vm).name, disk_keys(a.vm)) for a in attempts}
    tokens = leases.take_leases(database, requested)
    for attempt in attempts:
        attempt.token = tokens[attempt.vm.name.lower()]
        attempt.lease_is_unused = True


def _facts_of_holder(lease: Lease, facts: Mapping[str, HostFacts | RocksError]) -> HostFacts:
    """The facts of the host of the lease; StateError without them."""
    assert lease.host is not None
    answer = facts[lease.host]
    if isinstance(answer, RocksError):
        if is_silent(answer):
            raise holder_is_silent(lease, str(answer))
        raise holder_cannot_be_asked(lease, str(answer), may_be_off=may_be_off(answer))
    return answer


def _has_ended(lease: Lease, answer: HostFacts) -> bool:
    return lease.name.lower() in {name.lower() for name in answer.ended}
