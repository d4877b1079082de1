"""Stop, restart, pause and resume virtual machines: intent, operations, record.

A lease is released when its host reports that the domain is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.wire.requests import SHUTDOWN_SECONDS, PauseDomain, ResumeDomain, StopDomain
from rocks.inventory.host_requests import error_of, is_silent, open_fleet, perform_operations
from rocks.inventory.machine_locks import lock_vms
from rocks.inventory.records import Host, VirtualMachine
from rocks.machine import records as table
from rocks.machine.domain.documents import connections_of
from rocks.machine.leases import records as leases
from rocks.machine.leases.epoch import try_epoch
from rocks.machine.leases.plan import MOVING, SAVED, STOPPING, must_be_restored, place_of
from rocks.machine.leases.takeover import Force, abort_moves, take_over_vms
from rocks.machine.moves.live_move_rules import doubt_of
from rocks.machine.outcomes import Outcomes
from rocks.machine.spec import links_of
from rocks.network.infiniband.partitions import leave_partitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import StopAction
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease
    from rocks.machine.leases.takeover import Report


ACTIONS: tuple[StopAction, ...] = ("poweroff", "shutdown", "reset", "reboot")
ENDING: tuple[StopAction, ...] = ("poweroff", "shutdown")
"""Actions after which the domain is gone."""


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
    return [*table.load_vms(database, names), *map(_removed_machine, removed)]


def _removed_machine(name: str) -> VirtualMachine:
    """What is left of a machine: its name."""
    return VirtualMachine(Host(name, "", "", 0, None, None, is_virtual=True), None, 0, 0)


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
    machines = {vm.name: vm for vm in stopping}
    outcomes = Outcomes(failed=lock_vms(database, list(machines), also_moving=force is not None))
    held, about_moves = _settled_leases(database, machines, force, outcomes, report)
    if action not in ENDING:
        saved = {name: held[name.lower()] for name in machines if _is_saved(held.get(name.lower()))}
        outcomes.failed.update({name: must_be_restored(lease) for name, lease in saved.items()})
    places = _places(machines, held, outcomes)
    if action in ENDING:
        leases.set_state(database, list(places), STOPPING, action, force.reason if force else None)
    if action in ENDING and force is None:
        leases.forget_reasons(database, list(places))  # what was taken from a failed host stays off, too
    database.commit()
    stop = StopDomain("", None, action, deadline_seconds, discards_save=discards_saves)
    operations = _operations(machines, places, {} if doubt else held, stop)
    gone, unknown, silent = _ask(database, operations, held, outcomes, progress)
    if force is not None and force.host_is_off:
        silent = dict(unknown)
    if action in ENDING:
        _record_ended(database, places, held, gone, unknown)
    database.commit()
    if force is not None and not discards_saves:
        _leave_saved(held, silent, outcomes)
    if force is not None and silent:
        take_over_vms(database, held, silent, force, outcomes)
        database.commit()
    if action in ENDING:
        outcomes.warnings = leave_partitions(database)
    outcomes.warnings = (*about_moves, *outcomes.warnings, *([doubt] if doubt else []))
    return outcomes


def _settled_leases(
    database: Database,
    machines: Mapping[str, VirtualMachine],
    force: Force | None,
    outcomes: Outcomes,
    report: Report | None,
) -> tuple[dict[str, Lease], tuple[str, ...]]:
    """The leases, and lines about disks; with `force`, interrupted migrations are given up before, or fail."""
    held = leases.read_leases(database, list(machines), lock=True)
    locked = {name.lower() for name in machines if name not in outcomes.failed}
    # a move that another command is at work on has not been interrupted
    moving = [lease for name, lease in held.items() if name in locked and lease.state == MOVING]
    if force is None or not moving:
        return held, ()
    aborted = abort_moves(database, moving, force, report)
    outcomes.failed.update(
        {name: aborted.failed[name.lower()] for name in machines if name.lower() in aborted.failed}
    )
    return leases.read_leases(database, list(machines), lock=True), aborted.warnings


def _leave_saved(held: Mapping[str, Lease], silent: dict[str, str], outcomes: Outcomes) -> None:
    """Saved machines of silent hosts are not taken over; they fail, with what would discard their memory."""
    for name in [name for name in silent if _is_saved(held.get(name.lower()))]:
        outcomes.failed[name] = StateError(
            f"{name} is saved on {silent.pop(name)}; to take it from there without what its guest had in memory, "
            "add saved=remove"
        )


def _places(
    machines: Mapping[str, VirtualMachine], held: Mapping[str, Lease], outcomes: Outcomes
) -> dict[str, str]:
    """Machine → the host on which it may be running; one without a host fails, unless it has failed before."""
    places: dict[str, str] = {}
    for name, vm in machines.items():
        place = place_of(vm, held.get(name.lower()))
        if name in outcomes.failed:
            continue
        if place is None:
            outcomes.failed[name] = StateError(
                f"host {name} does not have a physical host, so it does not run"
            )
        else:
            places[name] = place
    return places


def _record_ended(
    database: Database,
    places: Mapping[str, str],
    held: Mapping[str, Lease],
    gone: Sequence[str],
    unknown: Mapping[str, str],
) -> None:
    """Release the leases of the machines that are gone; those that their hosts did not stop stay as they were."""
    leases.release_leases(database, gone)
    stay = [name for name in places if name not in gone]
    saved = [name for name in stay if _is_saved(held.get(name.lower()))]
    leases.set_state(database, [n for n in stay if n not in saved and n not in unknown], "running", None)
    leases.set_state(database, saved, SAVED, None)


def _is_saved(lease: Lease | None) -> bool:
    return lease is not None and lease.state == SAVED


def _operations(
    machines: Mapping[str, VirtualMachine],
    places: Mapping[str, str],
    held: Mapping[str, Lease],
    stop: StopDomain,
) -> dict[str, list[StopDomain]]:
    """Host → what it does: `stop` for each machine that it may be running, with its name, lease and links."""
    found: dict[str, list[StopDomain]] = {}
    for name, place in places.items():
        vm, lease = machines[name], held.get(name.lower())
        is_written_back = vm.container is not None and vm.container.name == place
        links = links_of(vm.container, connections_of(vm)) if vm.container and is_written_back else ()
        token = lease.token if lease else None
        found.setdefault(place, []).append(replace(stop, name=name, token=token, links=links))
    return found


class _Asked(NamedTuple):
    """Machines that their hosts report as stopped; those of which nothing is known, and those of silent hosts.

    The latter two map a name to its host; silent ones are among the unknown ones.
    """

    gone: list[str]
    unknown: dict[str, str]
    silent: dict[str, str]


def _ask(
    database: Database,
    operations: Mapping[str, Sequence[StopDomain]],
    held: Mapping[str, Lease],
    outcomes: Outcomes,
    progress: Progress | None,
) -> _Asked:
    gone: list[str] = []
    unknown: dict[str, str] = {}
    silent: dict[str, str] = {}
    place = {operation.name: host for host, of_host in operations.items() for operation in of_host}
    with open_fleet(database, sorted(operations)) as fleet:
        for name, outcome in perform_operations(database, fleet, operations, progress):
            error = error_of(outcome)
            if error is None:
                gone.append(name)
                outcomes.done[name] = () if isinstance(outcome, RocksError) else outcome.notes
                continue
            outcomes.failed[name] = error
            if isinstance(outcome, RocksError) or isinstance(error, HostError):  # it may have been stopped
                why = outcome if isinstance(outcome, RocksError) else AnsweringError(str(error))
                outcomes.failed[name] = _unanswered(name, place[name], why, held.get(name.lower()))
                unknown[name] = place[name]
            if is_silent(outcome):
                silent[name] = place[name]
    return _Asked(gone, unknown, silent)


def _unanswered(name: str, host: str, why: RocksError, lease: Lease | None) -> HostError:
    if lease is None or not lease.is_held:
        return HostError(
            f"{name} holds no lease, so no host may run it, and there is nothing to take over; its host {host} does "
            f"not answer ({why}). To start it on another host: rocks set host vm {name} physnode=HOST"
        )
    if not is_silent(why):
        return HostError(
            f"{name} is not known to be stopped: its host {host} cannot be asked ({why}), but may be on. Repair that "
            f"and try again, or when {host} is certainly off: rocks stop host vm {name} force=yes host-off=yes "
            'reason="…"'
        )
    return HostError(
        f"{name} is not known to be stopped: its host {host} does not answer ({why}). Bring it back and try again, "
        f'or when it is certainly off: rocks stop host vm {name} force=yes reason="…"'
    )


def pause_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Pause the named machines; returns the outcome of each."""
    return _ask_each(database, names, PauseDomain)


def resume_vms(database: Database, names: Sequence[str]) -> Outcomes:
    """Resume the named machines; returns the outcome of each."""
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
        doubt = doubt_of(vm) if operation is ResumeDomain else None
        if doubt is not None:
            outcomes.failed[vm.name] = doubt
        elif lease is not None and _is_saved(lease):
            outcomes.failed[vm.name] = must_be_restored(lease)
        elif place is None:
            outcomes.failed[vm.name] = StateError(
                f"virtual host {vm.name} does not have a valid physical host, so it does not run"
            )
        else:
            operations.setdefault(place, []).append(operation(vm.name, lease.token if lease else None))
    with open_fleet(database, sorted(operations)) as fleet:
        for name, outcome in perform_operations(database, fleet, operations):
            error = error_of(outcome)
            if error is not None:
                outcomes.failed[name] = error
            elif not isinstance(outcome, RocksError):
                outcomes.done[name] = outcome.notes
    return outcomes
