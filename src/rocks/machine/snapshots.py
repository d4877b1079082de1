"""Snapshots and saves of virtual machines: copies of image files, or memory and devices, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.callers import check_full_rights
from rocks.core.errors import HostError, RocksError, StateError, UserError, without_errors
from rocks.core.names import printable
from rocks.core.near_names import did_you_mean
from rocks.fleet.wire.facts import HostFacts
from rocks.fleet.wire.requests import ImagesRequest, MakeSnapshot, RestoreSnapshot, SaveDomain
from rocks.fleet.wire.snapshot_names import (
    FROZEN,
    MACHINE_OFF,
    NOT_FROZEN,
    Copy,
    check_snapshot_name,
    copy_paths,
    is_complete,
    read_copy,
    snapshot_exists_error,
)
from rocks.inventory.host_requests import ask_each, notes_of, open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked, lock_vms
from rocks.leases.machine_requests import contact_hosts, perform_one
from rocks.leases.plan import RUNNING, SAVED
from rocks.machine import record as table
from rocks.machine.converge import Asked, Verb, converge
from rocks.machine.disks import check_no_doubt
from rocks.machine.images import folders_of, remove_files
from rocks.machine.outcomes import Outcomes
from rocks.machine.spec import container_of, disk_spec, max_memory_mb, saved_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import ImageFact
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine import nas_snapshots
    from rocks.storage.volumes.places import ImageSpec


# Snapshots of virtual machines: copies of their image files beside them, all of one moment; and the way back.
#
# The files are the record: each bears the machine's UUID, and its name has the snapshot's and how many files there
# are. Machines whose disks are on NASes have theirs there (`nas_snapshots`).

_CONSISTENT: dict[str, str] = {FROZEN: "yes", NOT_FROZEN: "no", "": "no", MACHINE_OFF: "off"}
_UNKNOWN = "unknown"


class Snapshot(NamedTuple):
    """A snapshot of a machine: its files on the host, their space in bytes, and whether all of them are there.

    On a NAS, `host` is that, and `paths` are POOL/VOLUME@SNAPSHOT, with what was written since the ones before them.

    `consistent`: `yes` when the file systems of the machine were frozen, `no` when it ran and they were not, or it was
    saved, `off` when it was off, `unknown` where the file system could not store it.
    """

    vm: str
    name: str
    host: str
    paths: tuple[str, ...]
    used_bytes: int
    is_complete: bool
    consistent: str
    is_former: bool = False
    """The snapshot has content that a restore has replaced, in volumes of the NAS beside those of the disks."""


def list_snapshots(database: Database, names: Sequence[str]) -> tuple[list[Snapshot], dict[str, RocksError]]:
    """The snapshots of the named machines on their hosts and NASes, by name; and errors by host.

    StateError when a name is not that of a virtual machine.
    """
    found, _, errors = _listed(database, names)
    return found, errors


def _listed(
    database: Database, names: Sequence[str]
) -> tuple[list[Snapshot], nas_snapshots.Parts, dict[str, RocksError]]:
    """As `list_snapshots`, with the parts of those on NASes."""
    machines = [vm for vm in table.load_vms(database, names) if vm.container is not None and vm.uuid]
    folders: dict[str, set[str]] = {}
    for vm in machines:
        paths = [disk.path for disk in vm.disks if not disk.is_block]
        folders.setdefault(container_of(vm).name, set()).update(folders_of(paths))
    found: list[Snapshot] = []
    errors: dict[str, RocksError] = {}
    requests = {host: ImagesRequest(tuple(sorted(of_host))) for host, of_host in folders.items() if of_host}
    answers = ask_each(database, requests) if requests else ()
    for host, answer in without_errors(answers, errors):
        owners = {vm.uuid: vm.name for vm in machines if container_of(vm).name == host}
        files: dict[tuple[str, str], list[tuple[Copy, ImageFact]]] = {}
        for fact in answer.images:
            copy = read_copy(fact.path)
            if copy is not None and fact.machine in owners:
                key = (owners[fact.machine], copy.snapshot)
                files.setdefault(key, []).append((copy, fact))
        found += [_snapshot(vm, name, host, of_one) for (vm, name), of_one in files.items()]
    parts: nas_snapshots.Parts = {}
    if any(disk.is_mapped for vm in machines for disk in vm.disks):
        from rocks.machine import nas_snapshots  # it needs the message bus

        parts, former, silent = nas_snapshots.read_parts(database, machines)
        found += [_of_nas(vm, name, of_one) for (vm, name), of_one in parts.items()]
        found += [
            _of_nas(vm, name, of_one)._replace(is_former=True) for (vm, name, _), of_one in former.items()
        ]
        errors.update(silent)
    return sorted(found), parts, errors


def _of_nas(vm: str, name: str, parts: Sequence[nas_snapshots.Part]) -> Snapshot:
    from rocks.machine.nas_snapshots import is_complete as has_all

    moments = {part.moment for part in parts}
    return Snapshot(
        vm,
        name,
        parts[0].disk.nas,
        tuple(f"{part.volume}@{part.row.name}" for part in parts),
        sum(part.row.written_bytes for part in parts),
        has_all(parts),
        _CONSISTENT[moments.pop()] if len(moments) == 1 else "no",
    )


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
    """Copy the image files of a machine, running or not, or have its NASes keep a snapshot of each disk; returns notes.

    UserError for an invalid name; StateError for a machine that has a disk which is a device, has such a snapshot, or
    has too little space; HostError when its host does not answer. For disks on NASes see `nas_snapshots.add`.
    """
    check_snapshot_name(snapshot)
    vm, lease, images = _locked(database, name)
    check_no_doubt(vm)
    if images:
        found, parts = _snapshots_of(database, vm)
        if any(one.name == snapshot and one.is_complete and not one.is_former for one in found):
            raise snapshot_exists_error(vm.name, snapshot)
        from rocks.machine import nas_snapshots

        return nas_snapshots.add(database, vm, images, lease, snapshot, parts.get((vm.name, snapshot), ()))
    place = container_of(vm)
    runs = lease is not None and lease.state == RUNNING and str(lease.host).lower() == place.name.lower()
    disks = tuple(disk_spec(vm, place, disk, "gets no snapshot") for disk in vm.disks)
    copies = copy_paths((disk.path for disk in vm.disks), snapshot)
    operation = MakeSnapshot(name, disks, copies, lease.token if lease and runs else None)
    return notes_of(perform_one(database, place.name, operation))


def restore_snapshot(database: Database, name: str, snapshot: str) -> tuple[str, ...]:
    """Replace the images of a machine that is off by those of a snapshot, which stays; returns notes.

    What image files have now is lost; see `nas_snapshots.restore` for disks on NASes. StateError while the machine may
    run, and for a snapshot that is not complete or is of other disks. Only who may become root replaces disks.
    """
    check_full_rights(f"replacing the disks of {name}")
    vm, lease, images = _locked(database, name)
    if vm.restoring is None:  # a restore, to whichever snapshot, ends one that was interrupted
        check_no_doubt(vm)
    present, parts = _snapshots_of(database, vm)
    found = _one_named(vm, present, snapshot)
    if lease is not None and lease.state == SAVED:
        raise StateError(
            f"{name} is saved on {lease.host}, with the memory that belongs to its present disks; to discard that: "
            f"rocks stop host vm {name} saved=remove"
        )
    if lease is not None:
        raise StateError(f"{name} may be running on {lease.host}; stop it first: rocks stop host vm {name}")
    if (vm.name, snapshot) in parts:
        return _restore_on_nas(database, vm, images, snapshot, parts)
    _check_present_disks(vm, found, snapshot)
    disks = tuple(disk_spec(vm, container_of(vm), disk, "is not restored") for disk in vm.disks)
    operation = RestoreSnapshot(name, disks, found.paths)
    return notes_of(perform_one(database, container_of(vm).name, operation))


def _check_present_disks(vm: VirtualMachine, found: Snapshot, snapshot: str) -> None:
    """StateError, with the remedy, unless the files are all of the snapshot, and of the machine's present disks."""
    if not found.is_complete:
        raise StateError(
            f"the snapshot {snapshot} of {vm.name} is not complete: it has {', '.join(found.paths)}; rocks remove host "
            f"vm snapshot {vm.name} {snapshot} removes it"
        )
    if found.paths == copy_paths((disk.path for disk in vm.disks), snapshot):
        return
    taken = [copy.disk for path in found.paths if (copy := read_copy(path)) is not None]
    removed = [path for path in taken if path not in [disk.path for disk in vm.disks]]
    added = [disk for disk in vm.disks if disk.path not in taken]
    remedies = [
        *(
            f"it was made without {disk.path}: rocks remove host vm disk {vm.name} {disk.device}"
            for disk in added
        ),
        *(
            f"{vm.name} has {path} no more: rocks add host vm disk {vm.name} disk=TYPE:{path},DEVICE,BUS"
            for path in removed
        ),
    ]
    order = f"it was made of them in this order: {', '.join(taken)}; rocks set host vm {vm.name} disk=… sets the order"
    raise StateError(
        f"the snapshot {snapshot} of {vm.name} is not one of its present disks: {'; '.join(remedies) or order}; then "
        "repeat the command"
    )


def _restore_on_nas(
    database: Database,
    vm: VirtualMachine,
    images: Sequence[ImageSpec],
    snapshot: str,
    found: nas_snapshots.Parts,
) -> tuple[str, ...]:

    from rocks.machine import nas_snapshots

    parts = found[vm.name, snapshot]
    disks = [(image.nas, image.number) for image in images]
    if [(part.disk.nas, part.disk.number) for part in parts] != disks or not nas_snapshots.is_complete(parts):
        raise StateError(
            f"the snapshot {snapshot} of {vm.name} is not one of its present disks, or not complete; rocks list host "
            f"vm snapshot {vm.name} shows all"
        )
    later = [
        name
        for (_, name), others in found.items()
        if any(
            other.row.created > part.row.created
            for other in others
            for part in parts
            if other.disk.number == part.disk.number
        )
    ]
    return nas_snapshots.restore(database, vm, images, snapshot, parts, sorted(later))


def remove_snapshot(database: Database, name: str, snapshot: str) -> tuple[str, ...]:
    """Remove the files of a snapshot, or have its NASes release it; returns notes.

    An interrupted restore to it is ended: the machine keeps its disks as they are, of different moments, so only a
    person who may become root can do that. UserError without such a snapshot; else the first error of the host or NAS.
    """
    vm = _lock(database, name)
    found, parts = _snapshots_of(database, vm)
    own = parts.get((vm.name, snapshot), ())
    if vm.restoring == snapshot:
        check_full_rights(f"removing {snapshot}, to which the disks of {vm.name} are restored in part,")
    if own or vm.restoring == snapshot:
        from rocks.machine import nas_snapshots

        nas_snapshots.remove(database, vm, own, snapshot)
        return nas_snapshots.end_restoration(database, vm, snapshot)
    one = _one_named(vm, found, snapshot)
    for error in remove_files(database, vm, one.host, one.paths):
        raise error
    return ()


def _locked(database: Database, name: str) -> tuple[VirtualMachine, Lease | None, list[ImageSpec]]:
    """The machine, its lease if it is held, and the images of its disks if these are on NASes."""
    vm = _lock(database, name)
    images: list[ImageSpec] = []
    if any(disk.is_mapped for disk in vm.disks):
        from rocks.machine import nas_snapshots

        images = nas_snapshots.images_of_machine(database, vm)
    for disk in vm.disks:
        if disk.is_block and not images:
            raise StateError(
                f"{name} has no snapshots: its disk {disk.path} is a device, whose content this system does not copy"
            )
    if not vm.disks or not vm.uuid:
        raise StateError(f"{name} has no snapshots: it has no disk")
    lease = leases.read_leases(database, [name]).get(name.lower())
    return vm, lease if lease is not None and lease.is_held else None, images


def _lock(database: Database, name: str) -> VirtualMachine:
    table.load_vms(database, [name])
    ensure_locked(database, [name])
    (vm,) = table.load_vms(database, [name])
    container_of(vm)
    return vm


def _snapshots_of(database: Database, vm: VirtualMachine) -> tuple[list[Snapshot], nas_snapshots.Parts]:
    found, parts, errors = _listed(database, [vm.name])
    for place, error in errors.items():
        raise HostError(f"the snapshots of {vm.name} on {place} are not known: {error}")
    return found, parts


def _one_named(vm: VirtualMachine, found: Sequence[Snapshot], snapshot: str) -> Snapshot:
    """UserError without it, StateError for one of a former content."""
    named = [one for one in found if one.name == snapshot]
    for one in named:
        if not one.is_former:
            return one
    if named:
        pool, _, path = named[0].paths[0].partition("/")
        raise StateError(
            f"the snapshot {snapshot} of {vm.name} is of a content that a restore has replaced; to have a volume of "
            f"that: rocks add host storageimg {named[0].host} {pool} NEW origin={path}"
        )
    names = [one.name for one in found if not one.is_former]
    meant = did_you_mean(snapshot, names)
    raise UserError(
        f"{vm.name} has no snapshot {printable(snapshot)}; {meant}it has: {', '.join(names) or 'none'}"
    )


# Save running virtual machines: memory and devices to a file of their hosts; they continue at their next start.
#
# The lease stays with the host, under the same token: nothing else starts the machine until it is restored, or what
# was saved is discarded (decision 161).


def save_vms(
    database: Database,
    names: Sequence[str],
    notify: Callable[[str], None],
    progress: Progress | None,
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
