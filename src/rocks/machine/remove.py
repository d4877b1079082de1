"""Remove virtual machines: stop them, remove disks if asked to, delete their rows; nodes and interfaces stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, HostError, RocksError
from rocks.fleet.wire.live_moves import moving_path
from rocks.fleet.wire.requests import CONSOLE_LOG_FOLDER, ForgetMachinesRequest
from rocks.inventory.host_requests import ask_each
from rocks.leases import lease as leases
from rocks.leases.plan import SAVED, place_of
from rocks.machine.images import (
    check_erase,
    how_to_remove,
    remaining_files,
    remove_disks,
    remove_files,
    remove_former_seeds,
    remove_lone_seeds,
    remove_snapshots,
)
from rocks.machine.outcomes import Outcomes
from rocks.machine.record import copies_of_all, delete_vms
from rocks.machine.stop import stop_machines
from rocks.machine.volumes import destroy_volumes, line_of, staying_line, unlisted_line
from rocks.storage.volumes.move_records import check_no_moves, lock_for_removal
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import volume_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.storage.volumes.places import DiskLocation


@dataclass(frozen=True)
class Removed:
    """`warnings` about what could not be stopped or removed; `images` that remain, and `removed` ones, as `HOST:PATH`.

    `volumes` are the removed images of NASes, as `NAS:POOL/VOLUME`; `stopped` are lines about machines that ran.
    """

    warnings: tuple[str, ...]
    images: tuple[str, ...]
    removed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


def remove_vms(database: Database, machines: Sequence[VirtualMachine], with_disks: bool) -> Removed:
    """Stop the machines, remove their files from hosts, and delete their rows of `vm_nodes` and `vm_disks`.

    The caller has locked the machines and loaded them after that: a live migration may have ended before, and a start
    must not make a new image where this destroys the old one.

    Console logs, variables of UEFI and small disks of cloud-init without an image beside them are always removed;
    `with_disks`: also the disks of stopped machines that bear their UUIDs, on hosts and NASes, with their snapshots and
    what moves have left on other hosts.

    The rows of a machine are deleted even when it could not be stopped, or its host does not answer: a warning says so,
    and its lease remains, so that no machine with the same name or on the same disks starts before the old one is known
    to be gone. No row is deleted after BusyError, when another command works on one of the machines, and StateError:
    with `with_disks` when an image is being moved, others get their disks from it, or `vm_image_erase` has no valid
    value.

    Commits before it asks hosts. A command that was killed before its end has deleted no row, and can be repeated.
    """
    names = [vm.name for vm in machines]
    on_nas = [disk for disk in disk_locations(database, names) if disk.nas]
    if with_disks:
        check_erase(machines)
        check_no_moves(database, on_nas)
        volumes_of = [(disk.nas, disk.zpool, volume_name(disk.vm, disk.number)) for disk in on_nas]
        lock_for_removal(database, volumes_of, names)
    held = leases.read_leases(database, names)
    places = {vm.name: place_of(vm, held.get(vm.name.lower())) for vm in machines}
    outcomes = _stop(database, machines, places)
    removed, volumes, errors = list[str](), list[str](), list[str]()
    stopped = [vm for vm in machines if vm.name not in outcomes.failed]
    if with_disks:
        removed, errors = remove_disks(database, stopped, places)
        off = [vm for vm in machines if _is_off(vm, outcomes.failed, held)]
        volumes, lines = _remove_volumes(database, off, on_nas, outcomes.failed, held)
        errors += lines
    else:
        errors += remove_lone_seeds(database, stopped, places)
        errors += [staying_line(disk) for disk in on_nas if disk.zpool and disk.vm.lower() in held]
    former = _former_hosts(database, [vm.name for vm in stopped])
    errors += remove_former_seeds(database, stopped, former)
    errors += _remove_copies(database, machines, stopped if with_disks else [])
    silent = {name for name, error in outcomes.failed.items() if isinstance(error, HostError)}
    stay, unknown = remaining_files(database, [vm for vm in machines if vm.name not in silent], places)
    if with_disks:
        snapshots, lines = remove_snapshots(database, stopped, stay)
        removed += snapshots
        errors += lines
    errors += _forget_on_hosts(database, stopped, places, former)
    delete_vms(database, names)
    silent_hosts = {host for name, host in places.items() if name in silent and host is not None}
    stopping = [
        *(_warning(name, error, held.get(name.lower())) for name, error in outcomes.failed.items()),
        *outcomes.warnings,
    ]
    warnings = (*stopping, *errors, *_unknown_lines(silent_hosts, unknown))
    left = tuple(image for image in stay if image not in removed)
    return Removed(warnings, left, tuple(removed), tuple(volumes), _stopped_lines(stopped, held))


def _stopped_lines(stopped: Sequence[VirtualMachine], held: Mapping[str, Lease]) -> tuple[str, ...]:
    """A line for each host: its machines that ran, or were saved, until now."""
    notes = Outcomes()
    for vm in stopped:
        lease = held.get(vm.name.lower())
        if lease is not None and lease.is_held:
            what = (
                "and what its guest had in memory is discarded"
                if lease.state == SAVED
                else "and is powered off"
            )
            notes.done[vm.name] = (f"{vm.name} was {lease.state} on {lease.host}, {what}",)
    return tuple(notes.joined_lines)


def _stop(
    database: Database, machines: Sequence[VirtualMachine], places: Mapping[str, str | None]
) -> Outcomes:
    """Stop those that have a place. BusyError of the first one that another command works on."""
    outcomes = stop_machines(
        database, [vm for vm in machines if places[vm.name] is not None], discards_saves=True
    )
    for error in outcomes.failed.values():
        if isinstance(error, BusyError):
            raise error
    return outcomes


def _unknown_lines(silent: Collection[str], errors: Mapping[str, RocksError]) -> list[str]:
    """A line for each host; `errors` are those of the hosts that were asked for their images."""
    lines = {
        host: f"whether disk images stay on {host} is not known; see rocks list host image {host}: {error}"
        for host, error in errors.items()
    }
    for host in silent:
        lines[host] = (
            f"whether disk images stay on {host}, which does not answer, is not known; when it does: "
            f"rocks list host image {host}"
        )
    return [lines[host] for host in sorted(lines)]


def _is_off(vm: VirtualMachine, failed: Mapping[str, RocksError], held: Mapping[str, Lease]) -> bool:
    """Whether no host may run the machine: it was stopped, or its host is silent and has no lease of it."""
    lease = held.get(vm.name.lower())
    is_free = lease is None or not lease.is_held
    return vm.name not in failed or (is_free and isinstance(failed[vm.name], HostError))


def _remove_volumes(
    database: Database,
    off: Sequence[VirtualMachine],
    disks: Sequence[DiskLocation],
    failed: Mapping[str, RocksError],
    held: Mapping[str, Lease],
) -> tuple[list[str], list[str]]:
    """Destroy the images of machines that are off; (those that are destroyed, a line for each that may stay)."""
    volumes, lines = [], []
    names = {vm.name for vm in off}
    outcomes = destroy_volumes(database, off, [disk for disk in disks if disk.vm in names])
    for disk in disks:
        outcome = outcomes[disk] if disk in outcomes else failed[disk.vm]
        if isinstance(outcome, RocksError):
            lines.append(line_of(disk, outcome))
        elif outcome:
            volumes.append(f"{disk.nas}:{disk.zpool}/{volume_name(disk.vm, disk.number)}")
        elif disk.zpool and disk.vm.lower() in held:  # it was started once, so it had an image
            lines.append(unlisted_line(disk))
    return volumes, lines


def _remove_copies(
    database: Database, machines: Sequence[VirtualMachine], removable: Sequence[VirtualMachine]
) -> list[str]:
    """Remove what moves have left of the removable machines on hosts; a line for each file that may stay."""
    copies = copies_of_all(database, [vm.name for vm in machines])
    lines = []
    for vm in machines:
        for host, path in copies.get(vm.name, ()):
            problems: list[RocksError] = []
            if vm in removable:
                problems = remove_files(database, vm, host, [path, moving_path(path)])
                if not problems:
                    continue
            lines.append(
                f"the copy {host}:{path} of a disk of {vm.name}, which a move has left, may stay"
                f"{''.join(f': {problem}' for problem in problems)}; {how_to_remove(host, path)}"
            )
    return lines


def _forget_on_hosts(
    database: Database,
    machines: Sequence[VirtualMachine],
    places: Mapping[str, str | None],
    former: Mapping[str, Sequence[str]],
) -> list[str]:
    """Remove logs of consoles and variables of UEFI on present and former containers, and on hosts that had the leases.

    Returns a warning for each host where they stay.
    """
    found: dict[str, dict[str, None]] = {}
    for vm in machines:
        container = vm.container.name if vm.container is not None else None
        for host in (container, places.get(vm.name), *former.get(vm.name, ())):
            if host is not None and vm.uuid:
                found.setdefault(host, {})[vm.uuid] = None
    if not found:
        return []
    database.commit()
    requests = {host: ForgetMachinesRequest(tuple(uuids)) for host, uuids in found.items()}
    return [
        f"logs of consoles in {CONSOLE_LOG_FOLDER} of {host}, and variables of UEFI, stay: {answer}"
        for host, answer in ask_each(database, requests)
        if isinstance(answer, RocksError)
    ]


def _former_hosts(database: Database, names: Sequence[str]) -> dict[str, list[str]]:
    """Machine → the hosts on which it was placed before."""
    found: dict[str, list[str]] = {}
    for machine, host in database.rows(
        "SELECT n.Name, h.Name FROM vm_former_hosts f JOIN nodes h ON h.ID = f.Host JOIN vm_nodes v"
        " ON v.ID = f.Vm_Node JOIN nodes n ON n.ID = v.Node WHERE n.Name IN %s",
        [names],
    ):
        found.setdefault(str(machine), []).append(str(host))
    return found


def _warning(name: str, error: RocksError, lease: Lease | None) -> str:
    why = "the host does not answer" if isinstance(error, HostError) else "it could not be stopped"
    text = str(error)
    if isinstance(error, HostError) and error.__cause__ is not None and (lease is None or not lease.is_held):
        # what a stop advises is about a machine that stays
        text = f"{error.__cause__}. No host may run {name}, which holds no lease"
    return f"Warning (libvirt): {name} is removed from the database, but {why}: {text}"
