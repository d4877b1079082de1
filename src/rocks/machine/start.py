"""Start virtual machines: lease, hooks, specs, one request, record; each machine has its own outcome."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import CLASSES, Code, HostError, RocksError, StateError, ToolError
from rocks.fleet.wire.facts import GUEST_RUNS, is_active
from rocks.fleet.wire.requests import ResumeDomain
from rocks.inventory.disks.places import with_image_remedy
from rocks.inventory.host_requests import error_of, is_silent, may_be_off, open_fleet
from rocks.inventory.slurm_drains import batch_jobs
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, lock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import (
    RUNNING,
    SAVED,
    STARTING,
    STOPPING,
    AskHolder,
    KeepLease,
    TakeLease,
    continues,
    disk_keys,
    domain_on,
    holder_cannot_be_asked,
    holder_is_silent,
    holders_of,
    holders_to_ask,
    leases_to_end,
    plan_lease,
    saved_elsewhere,
    still_at_work,
)
from rocks.library.guest_images import with_medium_remedy
from rocks.machine import record as table
from rocks.machine.converge import Asked, Settler, ask_hosts
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import INSTALL_FRONTEND, boots_installer, connections_of, describe_vms
from rocks.machine.domain import with_lease
from rocks.machine.interrupted_moves import end_interrupted
from rocks.machine.outcomes import Outcomes, load_changed
from rocks.machine.plans import way_of
from rocks.machine.providers import PROVIDERS, Questions
from rocks.machine.record import moments_of_disks
from rocks.machine.spec import LOCAL_TRANSPORT, AlreadyRunningError, container_of, saved_domain, spec_of
from rocks.network.infiniband.machine_partitions import leave_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import OperationOutcome, StartDomain
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.leases.plan import DiskKey, LeaseStep
    from rocks.machine.documents import FiltersOf
    from rocks.machine.outcomes import VmHook
    from rocks.machine.placement import Placement
    from rocks.machine.spec import MachineSpec


# Leases of virtual machines: taken before a start, settled by facts.


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


# Start machines: hooks, specs, one request, record.
#
# No transaction is open while a host works (decision 2): a machine's lease is committed before its host gets the
# request, the outcome after it. What was interrupted before is ended first: a restored database, moves. Each hook
# commits, too. A command that is killed in between leaves a lease in state `starting`, which the next start or stop of
# that machine completes or undoes.


@dataclass(frozen=True)
class StartHooks:
    """What plugins add to a start: `allocate`, in order; `preboot` may return the XML document.

    `notify` prints a line for the operator; after an interrupt, cleanup errors are reported by it.
    """

    filters_of: FiltersOf
    notify: Callable[[str], None]
    allocate: Sequence[VmHook] = ()
    preboot: Callable[[VirtualMachine], str | None] | None = None
    progress: Progress | None = None


def start_vms(
    database: Database,
    names: Sequence[str],
    hooks: StartHooks,
    frontend_of: Mapping[str, str] | None = None,
    *,
    beside_jobs: bool = True,
) -> Outcomes:
    """Start the named machines; returns the outcome of each. Commits.

    `frontend_of` maps computes to the machine among the named that starts before; when it fails, they are not started.
    Without `beside_jobs`, none is started on a host with a batch job of Slurm.
    StateError when a name is not that of a virtual machine: then no machine is started.
    """
    ensure_epoch(database, hooks.notify)
    # before they are loaded, so that the records stay valid until the end
    busy = lock_vms(database, names, also_moving=True)
    busy |= end_interrupted(database, [name for name in names if name not in busy], hooks.notify)
    attempts = [Attempt(vm) for vm in table.load_vms(database, names)]
    for attempt in attempts:
        with attempt.failing_alone():
            container_of(attempt.vm)
            check_no_doubt(attempt.vm)
        attempt.error = attempt.error or busy.get(attempt.vm.name)
    if not beside_jobs:
        _leave_jobs_alone(database, attempts, hooks.notify)
    try:
        take_free_leases(database, attempts)
        if hooks.allocate:
            _allocate(database, attempts, hooks.allocate)
        _start(database, attempts, hooks, frontend_of or {})
    finally:
        # Also after an interrupt: undo plans, but no operation that was sent to a host.
        database.rollback()
        off = [attempt for attempt in attempts if attempt.is_certainly_off]
        release_unused(database, attempts)
        _record_running(database, [attempt.vm for attempt in attempts if attempt.notes is not None])
        database.commit()
        _undo_hooks(off, hooks)
    # where the membership of a host in a partition may be unneeded now
    has_left = any(attempt.error is not None or isinstance(attempt.step, AskHolder) for attempt in attempts)
    warnings = leave_partitions(database) if has_left else ()
    return Outcomes(
        {attempt.vm.name: attempt.notes for attempt in attempts if attempt.notes is not None},
        {attempt.vm.name: attempt.error for attempt in attempts if attempt.error is not None},
        warnings,
    )


def _leave_jobs_alone(database: Database, attempts: Sequence[Attempt], notify: Callable[[str], None]) -> None:
    """Have those attempts fail whose hosts have batch jobs of Slurm, which would share processors and memory with them.

    A machine that may run there already is left to the rest of the start. A Slurm that is silent prevents no start.
    """
    held = leases.read_leases(database, [attempt.vm.name for attempt in still_open(attempts)])
    may_run = {name for name, lease in held.items() if lease.is_held and lease.state != SAVED}
    off = [one for one in still_open(attempts) if one.vm.name.lower() not in may_run]
    database.end_reading()
    try:
        jobs = batch_jobs(container_of(attempt.vm).name for attempt in off)
    except RocksError as error:
        notify(f"whether hosts have batch jobs is not known: {error}")
        return
    for attempt in off:
        host = container_of(attempt.vm).name
        if host in jobs:
            attempt.error = StateError(
                f"{attempt.vm.name} is not started: Slurm has {' and '.join(jobs[host])} on {host}, which would share "
                "its processors and memory with the machine; wait for the end (squeue), or start it all the same: "
                f"rocks start host vm {attempt.vm.name} force=yes"
            )


def _allocate(database: Database, attempts: Sequence[Attempt], hooks: Sequence[VmHook]) -> None:
    """Run the hooks; a machine whose container or disks they changed gets its lease for the new ones."""
    before = {attempt.vm.name: _leased(attempt.vm) for attempt in still_open(attempts)}
    for hook in hooks:
        if candidates := still_open(attempts):
            _run_hook(database, hook, candidates)
    moved = []
    for attempt in still_open(attempts):
        with attempt.failing_alone():
            if _leased(attempt.vm) != before[attempt.vm.name]:
                moved.append(attempt)
    release_unused(database, moved)
    take_free_leases(database, moved)


def _leased(vm: VirtualMachine) -> tuple[str, tuple[DiskKey, ...]]:
    """Container and disks that the lease of a machine covers."""
    return container_of(vm).name, disk_keys(vm)


def _run_hook(database: Database, hook: VmHook, attempts: Sequence[Attempt]) -> None:
    """Run the hook and commit its changes before the next one runs; machines that it changed are loaded again."""
    result = hook.run_all([attempt.vm for attempt in attempts])
    for attempt in attempts:
        attempt.error = result.failed.get(attempt.vm.name)
    database.commit()
    going_on = still_open(attempts)
    for attempt, vm in zip(
        going_on, load_changed(database, [attempt.vm for attempt in going_on], result), strict=True
    ):
        attempt.vm = vm


def _undo_hooks(attempts: Sequence[Attempt], hooks: StartHooks) -> None:
    """Have the hooks undo their work for machines that do not run, in reverse order.

    The leases are free by now, but the machines are still locked: no other command starts them meanwhile.
    """
    for hook in reversed(hooks.allocate if attempts else ()):
        errors = hook.undo_all([attempt.vm for attempt in attempts])
        for attempt in attempts:
            also = errors.get(attempt.vm.name)
            if also is not None and attempt.error is not None:
                attempt.error = CLASSES[attempt.error.family](
                    f"{attempt.error}; and {also}", code=attempt.error.code
                )
            elif also is not None:
                hooks.notify(f"Warning: {also}")


def _start(
    database: Database, attempts: Sequence[Attempt], hooks: StartHooks, frontend_of: Mapping[str, str]
) -> None:
    """Settle leases that were held, complete the specs, commit, and have the hosts plan and do the starts.

    A host is asked before only where the records leave something open: a lease that is held already, fences that wait
    for the host, images and media that it may lack, and cores and devices that are chosen among those it has.
    """
    containers = sorted({container_of(attempt.vm).name for attempt in still_open(attempts)})
    steps = [attempt.step for attempt in still_open(attempts) if attempt.step]
    hosts = sorted({*containers, *holders_to_ask(steps)})
    with open_fleet(database, hosts) as fleet:
        providers = [provider(database, hooks.notify) for provider in PROVIDERS]
        asked = Questions()
        for provider in providers:
            provider.ask(still_open(attempts), asked)
        fenced = leases.fences_of_hosts(database, containers)
        facts = contact_hosts(
            database,
            fleet,
            sorted({*holders_of(steps), *fenced, *asked.files, *asked.shapes}),
            lease_ends=leases_to_end(steps),
            files=asked.files,
            shapes=asked.shapes,
        )
        settle_leases(database, attempts, facts)
        _specify(database, attempts, facts)
        for provider in providers:
            provider.claim([attempt for attempt in still_open(attempts) if not attempt.is_saved], facts)
        database.commit()
        _confirm_running(database, fleet, attempts)
        for provider in providers:
            provider.complete(still_open(attempts))
        _perform(database, fleet, [one for one in attempts if one.vm.name not in frontend_of], hooks)
        computes = _with_frontend(attempts, frontend_of)
        if computes:
            _perform(database, fleet, computes, hooks)


def _with_frontend(attempts: Sequence[Attempt], frontend_of: Mapping[str, str]) -> list[Attempt]:
    """The computes whose frontend runs; the others fail."""
    errors = {attempt.vm.name: attempt.error for attempt in attempts}
    computes = [attempt for attempt in still_open(attempts) if attempt.vm.name in frontend_of]
    for attempt in computes:
        name, frontend = attempt.vm.name, frontend_of[attempt.vm.name]
        if not isinstance(errors[frontend], AlreadyRunningError | None):
            attempt.error = StateError(
                f"{name} is not started, since its frontend {frontend} does not run; alone: rocks start host vm {name}"
            )
    return still_open(computes)


def _specify(
    database: Database, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]
) -> None:
    """Give each attempt its spec; those that run already under their lease end here."""
    machines = [attempt.vm for attempt in still_open(attempts)]
    neighbours, moments = _neighbours(database, machines), moments_of_disks(database, machines)
    for attempt in still_open(attempts):
        vm = attempt.vm
        with attempt.failing_alone():
            answer = facts.get(container_of(vm).name)
            if isinstance(answer, RocksError):
                raise HostError(f"{vm.name} is not started: {answer}")
            domain = None if answer is None else domain_on(answer, vm.name)
            attempt.may_run = answer is not None and is_active(answer, vm.name)
            if domain is None or domain.state not in GUEST_RUNS or domain.token != attempt.token:
                spec = spec_of(vm, connections_of(vm), neighbours)
                attempt.request = replace(
                    spec.request,
                    disks=tuple(
                        replace(disk, put_after=moments.get((vm.name, disk.path), 0) if disk.machine else 0)
                        for disk in spec.request.disks
                    ),
                    token=attempt.token,
                    continues=continues(attempt.step),
                    restores=attempt.is_saved,
                )
                # what the host would refuse by its domain claims nothing before
                way_of(attempt.request, domain, "" if answer is None else answer.qemu)
                attempt.spec = spec
            elif was_running(attempt):
                raise AlreadyRunningError(f"The host {vm.name} is already running.")
            elif was_stopping(attempt):
                attempt.notes = (f"{vm.name} still runs: a command that was to stop it was interrupted",)
            else:
                attempt.notes = (f"{vm.name} was already started by a command that was interrupted",)


def _confirm_running(database: Database, fleet: Fleet, attempts: Sequence[Attempt]) -> None:
    """Machines that run although a stop of them began: an agent that still works on it makes their start an error."""
    stopping = [one for one in attempts if one.notes is not None and was_stopping(one)]
    # it waits for the machine's lock on its host, and changes nothing of a machine that runs
    asked = [Asked(container_of(one.vm).name, ResumeDomain(one.vm.name, one.token)) for one in stopping]
    outcomes = Outcomes()
    ask_hosts(database, fleet, asked, Settler(), outcomes)
    for attempt in stopping:
        attempt.error = outcomes.failed.get(attempt.vm.name)
        attempt.notes = attempt.notes if attempt.error is None else None


def _neighbours(database: Database, machines: Sequence[VirtualMachine]) -> Mapping[int, Sequence[str]]:
    """The hosts of each VLAN, read only for containers with local VLANs."""
    return table.hosts_of_vlans(
        database,
        (
            interface.vlan
            for vm in machines
            if container_of(vm).attribute("vlan_transport") == LOCAL_TRANSPORT
            for interface in vm.host.interfaces
            if interface.vlan
        ),
    )


def _perform(database: Database, fleet: Fleet, attempts: Sequence[Attempt], hooks: StartHooks) -> None:
    asked: list[Asked] = []
    started: list[Attempt] = []
    # an agent takes 0.1 s to start: meanwhile the documents are made
    fleet.warm_up({container_of(attempt.vm).name for attempt in still_open(attempts)})
    for attempt in still_open(attempts):
        with attempt.failing_alone():
            asked.append(Asked(container_of(attempt.vm).name, _operation(database, attempt, hooks)))
            started.append(attempt)
    settler = _Started(started)
    ask_hosts(database, fleet, asked, settler, Outcomes(), hooks.progress)
    _free_unused_leases(database, fleet, settler.refused)


class _Started(Settler):
    """Stores outcomes in the attempts alone: these are complete also after an interrupt."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = {attempt.vm.name: attempt for attempt in attempts}
        self._unused = {name for name, attempt in self._attempts.items() if attempt.lease_is_unused}
        self.refused: list[Attempt] = []
        # the requests go out now: a command that is interrupted frees none of these leases
        for attempt in attempts:
            attempt.lease_is_unused, attempt.may_run = False, True

    def settle(self, asked: Asked, outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
        name = asked.operation.name
        attempt = self._attempts[name]
        attempt.error = _with_remedy(attempt.vm, error_of(outcome))
        if isinstance(outcome, RocksError):
            if outcome.nothing_done:
                attempt.error = HostError(f"{name} is not started: {outcome}")
                attempt.may_run, attempt.lease_is_unused = False, name in self._unused
            elif isinstance(outcome, HostError):
                attempt.error = HostError(
                    f"whether {name} runs is not known: {outcome}. Start it again, or rocks stop host vm {name}"
                )
        elif attempt.error is None:
            assert attempt.spec is not None
            attempt.notes = attempt.spec.notes + outcome.notes
        else:
            self.refused.append(attempt)
        return ()


def _with_remedy(vm: VirtualMachine, error: RocksError | None) -> RocksError | None:
    """A disk that is not the machine's can be given to it; a frontend that cannot be installed may have a system."""
    if error is not None and error.code in (Code.IMAGE_FOREIGN, Code.IMAGE_UNOWNED):
        return with_image_remedy(vm, error)
    if error is not None and error.code is Code.MEDIUM_ALTERED:
        return with_medium_remedy(vm, error)
    if not isinstance(error, ToolError) or not boots_installer(vm):
        return error
    return ToolError(
        f"{error}. {vm.name} did not boot its installer: if its disk has a system, or its drive an ISO, "
        f"rocks set host boot {vm.name} action=os; else give the boot action a kernel that its host has "
        f"(rocks add bootaction action='{INSTALL_FRONTEND}' kernel=… ramdisk=…)",
        code=Code.INSTALLER_FAILED,
    )


def _free_unused_leases(database: Database, fleet: Fleet, refused: Sequence[Attempt]) -> None:
    """Mark the leases of rejected starts as unused, when their hosts have ended them.

    Otherwise the domain may run: libvirt may have started it, or an earlier request under the same lease may be late.
    """
    ends: dict[str, list[tuple[str, int]]] = {}
    for attempt in refused:
        ends.setdefault(container_of(attempt.vm).name, []).append((attempt.vm.name, attempt.token))
    facts = contact_hosts(database, fleet, ends, lease_ends=ends)
    for attempt in refused:
        answer = facts[container_of(attempt.vm).name]
        attempt.may_run = isinstance(answer, RocksError) or attempt.vm.name not in answer.ended
        attempt.lease_is_unused = not attempt.may_run


def _operation(database: Database, attempt: Attempt, hooks: StartHooks) -> StartDomain:
    """The request, with the document."""
    vm, spec = attempt.vm, attempt.spec
    assert spec is not None
    given = hooks.preboot(vm) if hooks.preboot is not None else None
    placements = {} if attempt.placement is None else {vm.name: attempt.placement}
    described = {} if given else describe_vms(database, [vm], hooks.filters_of, placements)
    lines = given.splitlines() if given else described[vm.name]
    return replace(attempt.request, xml=with_lease(lines, attempt.token, spec.network, vm.uuid))


def settle_start(database: Database, vm: VirtualMachine, lease: Lease, facts: HostFacts) -> Lease:
    """The lease of a locked machine: running when its guest runs after an interrupted start. Commits."""
    domain = domain_on(facts, vm.name)
    runs = domain is not None and domain.state in GUEST_RUNS and domain.token == lease.token
    if lease.state != STARTING or not runs:
        return lease
    _record_running(database, [vm])
    database.commit()
    return replace(lease, state=RUNNING)


def _record_running(database: Database, running: Sequence[VirtualMachine]) -> None:
    """Record the running machines; a frontend whose installer was started boots from its disk the next time."""
    leases.set_state(database, [vm.name for vm in running], RUNNING)
    installing = [vm.name for vm in running if vm.host.install_action == INSTALL_FRONTEND]
    if installing:
        from rocks.inventory.boot_records import set_boot_action  # late: few starts install

        set_boot_action(database, installing, "os")
