"""Stop, restart, pause and resume virtual machines: intent, operations, record.

A lease is released when its host reports that the domain is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.wire.requests import (
    ENDING_ACTIONS,
    PauseDomain,
    ResumeDomain,
    StopAction,
    StopDomain,
)
from rocks.inventory.host_requests import error_of, is_silent, may_be_off, notes_of
from rocks.inventory.records import Host, VirtualMachine
from rocks.leases import lease as leases
from rocks.leases.fence_command import Force
from rocks.leases.lease import lock_vms, try_epoch
from rocks.leases.plan import MOVING, RUNNING, SAVED, STOPPING, must_be_restored, repair_or_force
from rocks.machine import record as table
from rocks.machine.converge import Asked, Verb, converge, running_place
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of
from rocks.machine.limits import SHUTDOWN_SECONDS
from rocks.machine.outcomes import Outcomes
from rocks.machine.spec import links_of
from rocks.machine.takeover import abort_moves, take_over_vms
from rocks.network.infiniband.machine_partitions import leave_partitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import OperationOutcome
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease
    from rocks.machine.takeover import Report


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
