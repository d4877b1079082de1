"""Snapshots of virtual machines: copies of their image files beside them, all of one moment; and the way back.

The files are the record: each bears the machine's UUID, and its name has the snapshot's and how many files there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.host_images import folders_of, remove_files
from rocks.actions.host_requests import ask_each, ask_facts, error_of, open_fleet, perform_operations
from rocks.actions.running_changes import check_place, reworded
from rocks.actions.vm_locks import lock_vms
from rocks.cluster.lease_plan import SAVED
from rocks.cluster.live_moves import check_no_doubt
from rocks.cluster.names import printable
from rocks.cluster.start_plan import container_of, is_active, plan_disk
from rocks.database import leases
from rocks.database import vms as table
from rocks.errors import HostError, RocksError, StateError, UserError
from rocks.wire.agent import MakeSnapshot, RestoreSnapshot
from rocks.wire.images import ImagesRequest
from rocks.wire.snapshots import (
    FROZEN,
    MACHINE_OFF,
    NOT_FROZEN,
    Copy,
    check_snapshot_name,
    copy_paths,
    is_complete,
    read_copy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.records import Lease, VirtualMachine
    from rocks.database.connection import Database
    from rocks.wire.facts import HostFacts
    from rocks.wire.images import ImageFact

_CONSISTENT: dict[str, str] = {FROZEN: "yes", NOT_FROZEN: "no", MACHINE_OFF: "off"}
_UNKNOWN = "unknown"


class Snapshot(NamedTuple):
    """A snapshot of a machine: its files on the host, their space in bytes, and whether all of them are there.

    `consistent`: `yes` when the file systems of the machine were frozen, `no` when it ran and they were not, or it was
    saved, `off` when it was off, `unknown` for a snapshot of an earlier release.
    """

    vm: str
    name: str
    host: str
    paths: tuple[str, ...]
    used_bytes: int
    is_complete: bool
    consistent: str


def list_snapshots(database: Database, names: Sequence[str]) -> tuple[list[Snapshot], dict[str, RocksError]]:
    """The snapshots of the named machines on their hosts, by name; and errors by host.

    StateError when a name is not that of a virtual machine.
    """
    machines = [vm for vm in table.load_vms(database, names) if vm.container is not None and vm.uuid]
    folders: dict[str, set[str]] = {}
    for vm in machines:
        paths = [disk.path for disk in vm.disks if not disk.is_block]
        folders.setdefault(container_of(vm).name, set()).update(folders_of(paths))
    found: list[Snapshot] = []
    errors: dict[str, RocksError] = {}
    requests = {host: ImagesRequest(tuple(sorted(of_host))) for host, of_host in folders.items() if of_host}
    for host, answer in ask_each(database, requests) if requests else ():
        if isinstance(answer, RocksError):
            errors[host] = answer
            continue
        owners = {vm.uuid: vm.name for vm in machines if container_of(vm).name == host}
        files: dict[tuple[str, str], list[tuple[Copy, ImageFact]]] = {}
        for fact in answer.images:
            copy = read_copy(fact.path)
            if copy is not None and fact.machine in owners:
                key = (owners[fact.machine], copy.snapshot)
                files.setdefault(key, []).append((copy, fact))
        found += [_snapshot(vm, name, host, of_one) for (vm, name), of_one in files.items()]
    return sorted(found), errors


def _snapshot(vm: str, name: str, host: str, files: Sequence[tuple[Copy, ImageFact]]) -> Snapshot:
    facts = [fact for _, fact in sorted(files, key=lambda file: file[0].number)]
    moments = {fact.moment for fact in facts}
    return Snapshot(
        vm,
        name,
        host,
        tuple(fact.path for fact in facts),
        sum(fact.used_bytes for fact in facts),
        is_complete([copy for copy, _ in files]),
        _CONSISTENT.get(moments.pop(), _UNKNOWN) if len(moments) == 1 else _UNKNOWN,
    )


def add_snapshot(database: Database, name: str, snapshot: str) -> tuple[str, ...]:
    """Copy the image files of a machine, running or not; returns notes.

    UserError for an invalid name; StateError for a machine that has a disk which is not an image file, has such a
    snapshot, or has too little space; HostError when its host does not answer.
    """
    check_snapshot_name(snapshot)
    vm, lease = _locked(database, name)
    check_no_doubt(vm)
    if any(one.name == snapshot and one.is_complete for one in _snapshots_of(database, vm)):
        raise StateError(
            f"{name} has a snapshot {snapshot} already; rocks remove host vm snapshot {name} {snapshot} removes it"
        )
    answer = _facts(database, vm)
    if is_active(answer, name):
        if lease is None:
            raise StateError(
                f"{name} runs on {container_of(vm).name} without a lease: rocks stop host vm {name}"
            )
        check_place(vm, lease)
    disks = tuple(plan_disk(vm, container_of(vm), disk, answer.disks) for disk in vm.disks)
    copies = copy_paths((disk.path for disk in vm.disks), snapshot)
    token = lease.token if lease is not None and is_active(answer, name) else None
    return _perform(database, vm, MakeSnapshot(name, disks, copies, token), "gets no snapshot")


def restore_snapshot(database: Database, name: str, snapshot: str) -> tuple[str, ...]:
    """Replace the images of a machine that is off by those of a snapshot, which stays; returns notes.

    What the images have now is lost. StateError while the machine may run, and for a snapshot that is not complete or
    is of other disks.
    """
    vm, lease = _locked(database, name)
    check_no_doubt(vm)
    found = _named(database, vm, snapshot)
    if lease is not None and lease.state == SAVED:
        raise StateError(
            f"{name} is saved on {lease.host}, with the memory that belongs to its present disks; to discard that: "
            f"rocks stop host vm {name} saved=remove"
        )
    if lease is not None:
        raise StateError(f"{name} may be running on {lease.host}; stop it first: rocks stop host vm {name}")
    if not found.is_complete or found.paths != copy_paths((disk.path for disk in vm.disks), snapshot):
        raise StateError(
            f"the snapshot {snapshot} of {name} is not one of its present disks, or not complete: it has "
            f"{', '.join(found.paths)}"
        )
    answer = _facts(database, vm)
    disks = tuple(plan_disk(vm, container_of(vm), disk, answer.disks) for disk in vm.disks)
    return _perform(database, vm, RestoreSnapshot(name, disks, found.paths), "is not restored")


def remove_snapshot(database: Database, name: str, snapshot: str) -> None:
    """Remove the files of a snapshot. StateError when there is none; the first error of the host otherwise."""
    vm, _ = _locked(database, name)
    found = _named(database, vm, snapshot)
    for error in remove_files(database, vm, found.host, found.paths):
        raise error


def _locked(database: Database, name: str) -> tuple[VirtualMachine, Lease | None]:
    table.load_vms(database, [name])
    for error in lock_vms(database, [name]).values():
        raise error
    (vm,) = table.load_vms(database, [name])
    container_of(vm)
    for disk in vm.disks:
        if disk.is_block or disk.is_mapped:
            raise StateError(
                f"{name} has no snapshots: its disk {disk.path} is a device or on a NAS; only image files are copied"
            )
    if not vm.disks or not vm.uuid:
        raise StateError(f"{name} has no snapshots: it has no disk")
    lease = leases.read_leases(database, [name]).get(name.lower())
    return vm, lease if lease is not None and lease.is_held else None


def _snapshots_of(database: Database, vm: VirtualMachine) -> list[Snapshot]:
    found, errors = list_snapshots(database, [vm.name])
    for host, error in errors.items():
        raise HostError(f"the snapshots of {vm.name} are not known: {host} does not answer ({error})")
    return found


def _named(database: Database, vm: VirtualMachine, snapshot: str) -> Snapshot:
    found = _snapshots_of(database, vm)
    for one in found:
        if one.name == snapshot:
            return one
    listed = ", ".join(one.name for one in found) or "none"
    raise UserError(f"{vm.name} has no snapshot {printable(snapshot)}; it has: {listed}")


def _facts(database: Database, vm: VirtualMachine) -> HostFacts:
    host = container_of(vm).name
    with open_fleet(database, [host]) as fleet:
        answer = ask_facts(database, fleet, [host], [vm])[host]
    if isinstance(answer, RocksError):
        raise HostError(f"{vm.name}: its host {host} does not answer ({answer})")
    return answer


def _perform(
    database: Database, vm: VirtualMachine, operation: MakeSnapshot | RestoreSnapshot, what: str
) -> tuple[str, ...]:
    host = container_of(vm).name
    operations: Mapping[str, list[MakeSnapshot | RestoreSnapshot]] = {host: [operation]}
    with open_fleet(database, [host]) as fleet:
        ((_, outcome),) = perform_operations(fleet, operations)
    error = error_of(outcome)
    if error is not None:
        raise reworded(vm, error, what)
    assert not isinstance(outcome, RocksError)
    return outcome.notes
