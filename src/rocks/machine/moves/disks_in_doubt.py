"""Which disks a machine has whose live migration was given up by force: an operator decides that (decision 176)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.fleet.wire.disk_files import ImagesRequest
from rocks.inventory.host_requests import ask_each, open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked
from rocks.leases.machine_requests import contact_hosts
from rocks.machine import record as disk_copies
from rocks.machine import record as table
from rocks.machine.images import folders_of
from rocks.machine.moves.move_rules import check_is_off, check_no_snapshots, check_source_there, plan_in_place
from rocks.machine.moves.moves import load_target, record_move
from rocks.machine.spec import container_of

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.machine.moves.moves import MoveReporter


def decide_disks(database: Database, name: str, host: str, reporter: MoveReporter) -> list[str]:
    """The disks that the host has are those of the machine; returns lines for the operator. Commits.

    Nothing is copied, and nothing is removed: what the other host has stays recorded as a copy. StateError when there
    is nothing to decide or the machine may run, UserError for another host, and HostError when the host does not answer
    that is to get the machine. Then nothing is changed.
    """
    ensure_epoch(database, reporter.notify)
    ensure_locked(database, [name])
    (vm,) = table.load_vms(database, [name])
    source, doubted = container_of(vm).name, vm.doubted_host
    if doubted is None:
        raise StateError(
            f"{vm.name} has its disks on {source}, and no live migration of it was given up; to move it there with its "
            f"disks: rocks move host vm {vm.name} {host}"
        )
    if host.lower() == source.lower():
        disk_copies.end_doubt(database, vm.name)
        database.commit()
        return [f"{vm.name} keeps its disks on {source}", _copy_stays(vm.name, doubted, source)]
    if host.lower() != doubted.lower():
        raise UserError(f"{host} has no disks of {vm.name}; name {doubted} or {source}")
    lines = _move_to_disks(database, vm, doubted)
    return [
        *lines,
        f"{vm.name} is on {doubted} now, with the disks there",
        _copy_stays(vm.name, source, doubted),
    ]


def _move_to_disks(database: Database, vm: VirtualMachine, host: str) -> list[str]:
    """Record the machine where its disks are, when they are there and nothing uses them; lines for the operator.

    StateError when its old host has snapshots of its disks there: they would be of no machine any more.
    """
    source = container_of(vm).name
    target, plan = load_target(database, vm, host), plan_in_place(vm)
    lease = leases.read_leases(database, [vm.name]).get(vm.name.lower())
    with open_fleet(database, [target.name]) as fleet:
        # carries the fence, which ends an older domain of the move
        facts = contact_hosts(database, fleet, [target.name])
    check_is_off(vm, lease, facts)
    folders = sorted({file.directory for file in plan.files})
    # the old host keeps the files under the paths that they have there
    asked = {
        target.name: ImagesRequest(tuple(folders)),
        source: ImagesRequest(tuple(folders_of([disk.path for disk in vm.disks if not disk.is_block]))),
    }
    answers = dict(ask_each(database, asked))
    there, here = answers[target.name], answers[source]
    if isinstance(there, RocksError):
        raise there
    found = {fact.path: fact for fact in there.images}
    for file in plan.files:
        check_source_there(vm, target.name, file, found)
    lines = []
    if isinstance(here, RocksError):
        lines.append(f"whether {source} has snapshots of {vm.name} is not known: {here}")
    else:
        check_no_snapshots(vm, {fact.path: fact for fact in here.images})
    record_move(database, vm, target, plan)
    disk_copies.end_doubt(database, vm.name)
    database.commit()
    return lines


def _copy_stays(name: str, host: str, place: str) -> str:
    """The files of the host that was not chosen."""
    return (
        f"its other disks stay on {host}; when {name} runs and they are not needed, this removes them: rocks move host "
        f"vm {name} {place}"
    )
