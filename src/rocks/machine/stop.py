"""Stop, restart, pause and resume virtual machines, take them over from silent hosts, record those that have ended."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, NamedTuple, get_args

from rocks.core import dry_run, process
from rocks.core.callers import check_full_rights
from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.core.site_programs import site_program
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.connection import CannotAskError
from rocks.fleet.wire.end_reports import MAX_NAMES
from rocks.fleet.wire.facts import GUEST_RUNS
from rocks.fleet.wire.requests import (
    ENDING_ACTIONS,
    SEED_SUFFIX,
    EndDeparture,
    PauseDomain,
    ResumeDomain,
    StopAction,
    StopDomain,
)
from rocks.inventory.attributes.secret_records import resolve_secret
from rocks.inventory.host_requests import error_of, is_silent, may_be_off, notes_of, open_fleet
from rocks.inventory.records import Host, VirtualMachine
from rocks.leases import lease as leases
from rocks.leases.lease import lock_vms, try_epoch
from rocks.leases.machine_requests import contact_hosts, perform_operations
from rocks.leases.plan import (
    MOVING,
    RUNNING,
    SAVED,
    STARTING,
    STOPPING,
    disk_may_be_old,
    domain_on,
    has_arrived,
    move_was_interrupted,
    must_be_restored,
    repair_or_force,
    target_answers,
)
from rocks.machine import record as table
from rocks.machine.converge import Asked, Verb, converge, running_place
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of
from rocks.machine.interrupted_moves import GuestRunsError, end_interrupted
from rocks.machine.limits import SHUTDOWN_SECONDS
from rocks.machine.outcomes import Outcomes
from rocks.machine.record import DiskCopy
from rocks.machine.spec import links_of
from rocks.network.infiniband.machine_partitions import leave_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import OperationOutcome
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease
    from rocks.leases.plan import DiskKey

    Report = Callable[[str], None]
    """Called with a line for the operator, which is printed at once."""


# The site's command that switches a silent host off, before its machines are taken over.

FENCE_SECONDS = 120.0
"""How long the command of `vm_fence_command` may take."""

FENCE_ATTRIBUTE = "vm_fence_command"


@dataclass(frozen=True)
class Force:
    """The operator's confirmation that the machines of a host that does not answer may be taken over.

    `reason` is stored with the lease. `host_is_off`: the operator has verified it, so the host's fence command is not
    run.
    """

    reason: str
    host_is_off: bool = False


def run_fence_command(host: str, command: str, force: Force) -> str | RocksError:
    """The proof that the host is off, as text for the operator; HostError when the fence command fails.

    Words NAME=value before the program are its environment, which only root can read; every user of this machine can
    read the program's arguments while it runs.
    """
    if force.host_is_off or not command:
        return f"the operator states that {host} is off: {force.reason}"
    try:
        arguments, variables = site_program(command)
        if dry_run.would(host, f"be fenced by {arguments[0]}"):
            return f"the fence command of {host} succeeded"
        process.run_checked(
            arguments, deadline_seconds=FENCE_SECONDS, environment={**os.environ, **variables}
        )
    except (RocksError, ValueError) as error:
        return HostError(
            f"{host} could not be fenced: its vm_fence_command failed ({error}); nothing was taken over. Switch it "
            "off by hand and add host-off=yes"
        )
    return f"the fence command of {host} succeeded"


# Stop, restart, pause and resume virtual machines: intent, operations, record.
#
# A lease is released when its host reports that the domain is gone.

ACTIONS: tuple[StopAction, ...] = get_args(StopAction)


def read_action(text: str) -> StopAction:
    """The action of that name. UserError for another text."""
    for action in ACTIONS:
        if text == action:
            return action
    raise UserError(f'invalid action "{printable(text)}". action must be one of {", ".join(ACTIONS)}')


def machines_to_stop(
    database: Database, names: Sequence[str], removed: Sequence[str] = ()
) -> list[VirtualMachine]:
    """The machines. StateError when one of the names is not that of a virtual machine.

    `removed` are names that hold a lease without a machine in the database: their domains are stopped on the hosts of
    their leases.
    """
    left = [Host(name, "", "", 0, None, None, is_virtual=True) for name in removed]
    return [*table.load_vms(database, names), *(VirtualMachine(host, None, 0, 0) for host in left)]


def stop_machines(
    database: Database,
    stopping: Sequence[VirtualMachine],
    action: StopAction = "poweroff",
    deadline_seconds: int = SHUTDOWN_SECONDS,
    force: Force | None = None,
    progress: Progress | None = None,
    *,
    discards_saves: bool = False,
    report: Report | None = None,
) -> Outcomes:
    """Stop the machines, or restart them in place; returns the outcome of each. Commits.

    A machine that is off already counts as stopped. With `force`, a host that does not answer loses its leases after
    its fence command (attribute `vm_fence_command`) succeeded, or when the operator asserts that it is off. One that
    answers with an error keeps them, unless the operator has verified that it is off (`force.host_is_off`). While a
    restored database could not be compared with the hosts, a host ends the machine under whichever lease it runs.
    A saved machine fails and stays saved, unless `discards_saves`. `report` gets, before anything is stopped, the lines
    about disks that may be old; with None they are among the warnings.
    """
    doubt = try_epoch(database)
    names = [vm.name for vm in stopping]
    outcomes = Outcomes(failed=lock_vms(database, names, also_moving=force is not None))
    aborted = _abort_moves(database, names, force, outcomes, report)
    verb = _Stop(action, deadline_seconds, force, discards_saves=discards_saves, in_doubt=doubt is not None)
    converge(database, stopping, verb, outcomes, progress)
    if force is not None:
        _take_over(database, verb, force, outcomes)
    if verb.ends_domains:
        outcomes.warnings = leave_partitions(database)
    outcomes.warnings = (*aborted, *outcomes.warnings, *([doubt] if doubt else []))
    return outcomes


class _Stop(Verb):
    """In doubt, a host ends the machine under whichever lease it runs.

    `silent` maps machines to their hosts, which do not answer, or are off by the operator's word.
    """

    def __init__(
        self,
        action: StopAction,
        deadline_seconds: int,
        force: Force | None,
        *,
        discards_saves: bool,
        in_doubt: bool,
    ) -> None:
        self._action: StopAction = action
        self._deadline_seconds, self._force, self._in_doubt = deadline_seconds, force, in_doubt
        self.discards_saves = discards_saves
        self.ends_domains = action in ENDING_ACTIONS
        self.held: dict[str, Lease] = {}
        self._asked: list[str] = []
        self._unknown: set[str] = set()
        self.silent: dict[str, str] = {}

    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked:
        if lease is not None:
            self.held[vm.name.lower()] = lease
            if lease.state == SAVED and not self.ends_domains:
                raise must_be_restored(lease)
        place = running_place(vm, lease)
        is_on_container = vm.container is not None and vm.container.name == place
        links = links_of(vm.container, connections_of(vm)) if vm.container and is_on_container else ()
        token = lease.token if lease and not self._in_doubt else None
        stop = StopDomain(vm.name, token, self._action, self._deadline_seconds, links, self.discards_saves)
        return Asked(place, stop)

    def intend(self, database: Database, asked: Sequence[Asked]) -> None:
        self._asked = [one.operation.name for one in asked]
        if self.ends_domains:
            reason = self._force.reason if self._force else None
            leases.set_state(database, self._asked, STOPPING, reason)
            if self._force is None:
                # what was taken from a failed host stays off, too
                leases.forget_reasons(database, self._asked)

    def settle(self, asked: Asked, outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
        name, error = asked.operation.name, error_of(outcome)
        if isinstance(outcome, RocksError) or isinstance(error, HostError):  # it may have been stopped
            why = outcome if isinstance(outcome, RocksError) else AnsweringError(str(error))
            self._unknown.add(name)
            if is_silent(why) or (self._force is not None and self._force.host_is_off):
                self.silent[name] = asked.host
            raise _unanswered(name, asked.host, why, self.held.get(name.lower())) from why
        return notes_of(outcome)

    def record(self, database: Database, outcomes: Outcomes) -> None:
        """Release the leases of the machines that are gone; those that their hosts did not stop stay as they were."""
        if self.ends_domains:
            leases.release_leases(database, [name for name in self._asked if name in outcomes.done])
            stay = [name for name in self._asked if name not in outcomes.done]
            saved = [name for name in stay if _is_saved(self.held.get(name.lower()))]
            running = [name for name in stay if name not in saved and name not in self._unknown]
            leases.set_state(database, running, RUNNING)
            leases.set_state(database, saved, SAVED)


def _abort_moves(
    database: Database, names: Sequence[str], force: Force | None, outcomes: Outcomes, report: Report | None
) -> tuple[str, ...]:
    """With `force`, abort live migrations that were interrupted, or have their machines fail; lines about disks."""
    if force is None:
        return ()
    # a move that another command is at work on has not been interrupted
    locked = [name for name in names if name not in outcomes.failed]
    held = leases.read_leases(database, locked, lock=True)
    moving = [lease for lease in held.values() if lease.state == MOVING]
    if not moving:
        return ()
    aborted = abort_moves(database, moving, force, report)
    outcomes.failed.update(
        {name: aborted.failed[name.lower()] for name in locked if name.lower() in aborted.failed}
    )
    return aborted.warnings


def _take_over(database: Database, verb: _Stop, force: Force, outcomes: Outcomes) -> None:
    """Take the machines of silent hosts; the saved ones fail, unless what would discard their memory is given."""
    silent = verb.silent
    if not verb.discards_saves:
        for name in [name for name in silent if _is_saved(verb.held.get(name.lower()))]:
            outcomes.failed[name] = StateError(
                f"{name} is not taken: it is saved on {silent.pop(name)}; to take it from there, and lose what its "
                "guest had in memory, repeat the command with saved=remove"
            )
    if silent:
        take_over_vms(database, verb.held, silent, force, outcomes)
        database.commit()


def _is_saved(lease: Lease | None) -> bool:
    return lease is not None and lease.state == SAVED


def _unanswered(name: str, host: str, why: RocksError, lease: Lease | None) -> HostError:
    if lease is None or not lease.is_held:
        problem = "does not answer" if is_silent(why) else "cannot be asked"
        return HostError(
            f"{name} holds no lease, so no host may run it, and there is nothing to take over; its host {host} "
            f"{problem} ({why}). To start it on another host: rocks set host vm {name} physnode=HOST"
        )
    if not is_silent(why):
        remedy = repair_or_force(host, f"rocks stop host vm {name} force=yes", may_be_off=may_be_off(why))
        return HostError(
            f"{name} is not known to be stopped: its host {host} cannot be asked ({why}), but may be on. {remedy}"
        )
    return HostError(
        f"{name} is not known to be stopped: its host {host} does not answer ({why}). Bring it back and try again, "
        f'or when it is certainly off: rocks stop host vm {name} force=yes reason="…"'
    )


def pause_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Pause the named machines; returns the outcome of each."""
    return _change_power(database, names, _Pause())


def resume_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Resume the named machines; returns the outcome of each."""
    return _change_power(database, names, _Resume())


def _change_power(database: Database, names: Sequence[str], verb: Verb) -> Outcomes:
    machines = table.load_vms(database, names)
    outcomes = Outcomes(failed=dict(lock_vms(database, [vm.name for vm in machines])))
    converge(database, machines, verb, outcomes)
    return outcomes


class _Pause(Verb):
    operation: type[PauseDomain] | type[ResumeDomain] = PauseDomain

    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked:
        if lease is not None and lease.state == SAVED:
            raise must_be_restored(lease)
        return Asked(running_place(vm, lease), self.operation(vm.name, lease.token if lease else None))


class _Resume(_Pause):
    operation = ResumeDomain

    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked:
        check_no_doubt(vm)
        return super().request(vm, lease)


# Leases that are taken from silent hosts by force, and live moves that are aborted because of them.


def take_over_vms(
    database: Database,
    held: Mapping[str, Lease],
    silent: Mapping[str, str],
    force: Force,
    outcomes: Outcomes,
) -> None:
    """Free the leases that silent hosts hold, and leave fences for the hosts' return.

    `held` has leases by lower-case name, `silent` maps a machine to its host. The failures in `outcomes` stay for a
    machine without a held lease, and are replaced for a machine whose host could not be fenced.
    """
    hosts = sorted(set(silent.values()))
    commands = resolve_secret(database, FENCE_ATTRIBUTE, hosts)
    database.commit()  # the programs take their time: no transaction is open meanwhile
    fenced = {host: _prove_off(host, commands.get(host, ""), force) for host in hosts}
    for name, host in silent.items():
        lease, proof = held.get(name.lower()), fenced.get(host, "")
        if lease is None or not lease.is_held:
            continue
        if isinstance(proof, RocksError):
            outcomes.failed[name] = proof
            continue
        leases.put_up_fences(database, [(host, name, lease.token + 1)])
        leases.release_leases(database, [name], force.reason)
        outcomes.failed.pop(name, None)
        outcomes.done[name] = (
            f"{name} was taken from {host} by force ({proof or force.reason}). If {host} is not off, {name} still "
            f"runs there and may run twice until {host} is reached again, when its old domain is destroyed",
        )


def _prove_off(host: str, command: str, force: Force) -> str | RocksError:
    """As `run_fence_command`; without a command, a person who may become root states it. UserError for others."""
    try:
        if force.host_is_off or not command:
            without = "" if command else f" (its attribute {FENCE_ATTRIBUTE} has no command)"
            check_full_rights(f"the statement that {host} is off{without}")
    except UserError as error:
        return error
    return run_fence_command(host, command, force)


class AbortedMoves(NamedTuple):
    """Machine in lower case → why its migration was not aborted; and lines about the disks of the others."""

    failed: dict[str, RocksError]
    warnings: tuple[str, ...]


def abort_moves(
    database: Database, moving: Sequence[Lease], force: Force, report: Report | None
) -> AbortedMoves:
    """Live migrations that were interrupted, and whose new host is silent: the machine is that of its old host again.

    As `take_over_vms` for the new host, which may run the machine. One that answers is not silent, whatever it says:
    then the machine fails. So it does when this machine cannot ask it, unless `force.host_is_off`. The caller has
    locked the machines: no command is moving them. Commits.

    `report` gets the lines about disks instead, each before the lease is changed: a command that is killed afterwards
    finds no migration when it is repeated, and would not print them.

    A machine that has arrived on a host that answers, and waits there for its images on a NAS, is ended there.
    """
    failed: dict[str, RocksError] = {}
    warnings: list[str] = []
    answers = _asked_about(database, moving)
    targets = sorted({lease.target for lease in moving if lease.target})
    commands = resolve_secret(database, FENCE_ATTRIBUTE, targets)
    database.commit()
    for lease in moving:
        assert lease.target is not None
        here, there = answers[lease.name]
        if _waits_for_images(database, lease, here, there):
            error = _abort_waiting(database, lease, report or warnings.append)
            failed.update({} if error is None else {lease.name.lower(): error})
            continue
        if not (is_silent(there) or (force.host_is_off and isinstance(there, CannotAskError))):
            failed[lease.name.lower()] = (
                target_answers(lease, str(there), may_be_off=may_be_off(there))
                if isinstance(there, RocksError)
                else move_was_interrupted(lease)
            )
            continue
        proof = _prove_off(lease.target, commands.get(lease.target, ""), force)
        if isinstance(proof, RocksError):
            failed[lease.name.lower()] = proof
            continue
        _abort_move(database, lease, has_arrived(lease, here, there), report or warnings.append)
    return AbortedMoves(failed, tuple(warnings))


def _waits_for_images(
    database: Database, lease: Lease, here: HostFacts | RocksError, there: HostFacts | RocksError
) -> bool:
    """Whether the machine has arrived on its new host, does not run there, and has images on a NAS to follow it."""
    found = domain_on(there, lease.name)
    if found is None or not found.persistent or found.state in GUEST_RUNS:
        return False
    has_images = any(_is_device(path) for _, path in leases.disks_of(database, lease.name))
    return has_images and has_arrived(lease, here, there) is True


def _abort_waiting(database: Database, lease: Lease, report: Report) -> RocksError | None:
    """End the machine on its new host, and give it back to its old one; the error of the host. Commits."""
    assert lease.target is not None
    database.end_reading()
    with open_fleet(database, [lease.target]) as fleet:
        end = StopDomain(lease.name, lease.token)
        ((_, outcome),) = perform_operations(database, fleet, {lease.target: [end]})
    error = error_of(outcome)
    if error is None:
        _abort_move(database, lease, True, report)
    return error


def _abort_move(database: Database, lease: Lease, arrived: bool | None, report: Report) -> None:
    """Give the machine back to its old host; its disks are in doubt unless it is known to run there. Commits."""
    assert lease.target is not None and lease.host is not None
    covered = leases.disks_of(database, lease.name)
    copies = _copies_on(database, lease, lease.target, covered)
    # without a disk among them there is nothing to decide: the small disk for cloud-init is made at each start
    if arrived is not False and any(not copy.path.endswith(SEED_SUFFIX) for copy in copies):
        report(disk_may_be_old(lease, has_arrived=arrived is True, paths=[copy.path for copy in copies]))
        table.doubt_copies(database, lease.name, copies)
    leases.put_up_fences(database, [(lease.target, lease.name, lease.token + 1)])
    disks = [key for key in covered if key[0].lower() == lease.host.lower()]
    leases.end_live_move(database, lease.name, lease.host, disks)
    database.commit()


def _copies_on(database: Database, lease: Lease, host: str, covered: Sequence[DiskKey]) -> list[DiskCopy]:
    """The files that the migration has made on its new host; `covered` are the disks of the lease."""
    recorded = [
        one.path for one in table.read_copies(database, lease.name) if one.host.lower() == host.lower()
    ]
    leased = [path for place, path in covered if place.lower() == host.lower() and not _is_device(path)]
    return [DiskCopy(host, path) for path in dict.fromkeys([*recorded, *leased])]


def _is_device(path: str) -> bool:
    """Whether it is the device of an image on a NAS, which knows by itself which host has the current content."""
    return path.startswith("/dev/")


def _asked_about(
    database: Database, moving: Sequence[Lease]
) -> dict[str, tuple[HostFacts | RocksError, HostFacts | RocksError]]:
    """Machine → what its old and its new host report, when no agent of the old one works on the migration any more."""
    hosts = sorted({host for lease in moving for host in (lease.host, lease.target) if host})
    database.commit()
    ends: dict[str, list[EndDeparture]] = {}
    for lease in moving:
        ends.setdefault(str(lease.host), []).append(EndDeparture(lease.name, lease.token))
    with open_fleet(database, hosts) as fleet:
        left = {
            name.lower(): error_of(outcome) for name, outcome in perform_operations(database, fleet, ends)
        }
        facts = contact_hosts(database, fleet, hosts, asks_leases=True)
    return {
        lease.name: (left[lease.name.lower()] or facts[str(lease.host)], facts[str(lease.target)])
        for lease in moving
    }


# Machines that have ended by themselves: what their host reports, checked by asking it (decision 72).

_TERMINATION_SECONDS = 6 * 3600.0
"""Writing an image back may take hours."""

_IMAGE_SECONDS = 20.0
"""The host that reports an end waits for the answer for 60 s (`machine.host.end_reports`)."""


def read_names(body: bytes) -> list[str]:
    """The names in a request, one a line. UserError for too many, or text that is not UTF-8."""
    try:
        names = body.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise UserError("the names of the machines are not UTF-8 text") from None
    names = [name for name in dict.fromkeys(names) if name]
    if len(names) > MAX_NAMES:
        raise UserError(f"{len(names)} machines are named, at most {MAX_NAMES} at once")
    return names


def take_ended(
    database: Database,
    host: str,
    names: Sequence[str],
    terminate: Callable[[Sequence[str]], None] | None = None,
) -> list[str]:
    """Release the leases of those machines that run on the host by the database, and not by the host; returns them.

    So are those whose start was interrupted; and those whose stop was, or lost its host: they keep the reason of a stop
    by force, and `terminate`, which gets the others also when the report of another one ends in an error, does not get
    them.

    A live migration that was interrupted is ended before, when the guest is off on both hosts. Other names are ignored:
    a host reports only its own machines. BusyError while another command works on one of them, HostError when the host
    does not answer; then nothing is released. HostError when the other host of a migration does not answer, BusyError
    while an agent of it works, a NAS takes an image, or a command starts or stops a machine, StateError while its guest
    is paused: then the other machines are released before. Commits.
    """
    held = _that_may_run(database, host, {name.lower() for name in names})
    if not held:
        return []
    busy = lock_vms(database, [lease.name for lease in held], also_moving=True)
    for lease in held:
        if lease.name in busy and lease.state not in (STARTING, STOPPING):
            raise busy[lease.name]
    locked = [lease.name for lease in held if lease.name not in busy]
    failed = end_interrupted(database, locked, lambda line: None, _IMAGE_SECONDS)
    # a guest that runs has left here what has ended; any other error has the host report it once more
    unsettled = [error for error in failed.values() if not isinstance(error, GuestRunsError)]
    held = _that_may_run(database, host, {name.lower() for name in locked})  # as it is under the locks
    gone = _release(database, host, [lease for lease in held if lease.state != MOVING])
    stopped = {lease.name for lease in held if lease.state == STOPPING}
    by_themselves = [name for name in gone if name not in stopped]
    if by_themselves and terminate is not None:
        terminate(by_themselves)
    for error in (*unsettled, *busy.values()):
        raise error
    return gone


def _release(database: Database, host: str, held: Sequence[Lease]) -> list[str]:
    """Release the leases of those of the machines that the host reports as ended; returns them."""
    if not held:
        return []
    database.commit()
    ends = {host: [(lease.name, lease.token) for lease in held]}
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host], lease_ends=ends)[host]
    if isinstance(answer, RocksError):
        raise answer
    ended = {name.lower() for name in answer.ended}
    gone = [lease.name for lease in held if lease.name.lower() in ended]
    stopped = [lease.name for lease in held if lease.name in gone and lease.state == STOPPING]
    leases.release_keeping_reasons(database, stopped)
    leases.release_leases(
        database, [name for name in gone if name not in stopped], f"it ended by itself on {host}"
    )
    database.commit()
    if gone:
        leave_partitions(database)
        database.commit()
    return gone


def _that_may_run(database: Database, host: str, names: set[str]) -> list[Lease]:
    """The named machines that run on the host by their leases, were to start or stop there, or move from or to it."""
    found = leases.leases_of_hosts(database, [host])
    # a start records what runs at its end only, and a guest may have ended by then
    states = (STARTING, RUNNING, STOPPING, MOVING)
    return [lease for lease in found if lease.name.lower() in names and lease.state in states]


class Termination:
    """Runs `rocks stop host vm NAME terminate=yes` for machines that have ended, one command after the other."""

    def __init__(self, launcher: str, log: Callable[[str], None]) -> None:
        self._launcher, self._log = launcher, log
        self._waiting: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, names: Sequence[str]) -> None:
        """Have the resources of these machines released, and return at once."""
        self._waiting.put(list(names))

    def _work(self) -> None:
        while True:
            names = self._waiting.get()
            command = [self._launcher, "stop", "host", "vm", *names, "terminate=yes"]
            try:
                process.run_checked(command, deadline_seconds=_TERMINATION_SECONDS)
            except RocksError as error:
                self._log(
                    f"the resources of {', '.join(names)} are not released: {error}; "
                    f"rocks stop host vm {' '.join(names)} terminate=yes"
                )
