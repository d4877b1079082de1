"""A virtual machine moves from one physical host to another: its disks, and where they will be. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.names import in_quotes
from rocks.core.units import size_text
from rocks.fleet.wire.disk_moves import moving_path
from rocks.fleet.wire.domain_states import is_active
from rocks.fleet.wire.snapshot_names import read_copy
from rocks.inventory.disks.places import directory_of
from rocks.leases.plan import RUNNING, SAVED
from rocks.library.guest_images import seed_path
from rocks.library.limits import LEAST_FREE_BYTES
from rocks.machine.add import image_folder
from rocks.machine.spec import container_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rocks.fleet.wire.disk_files import ImageFact
    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import Disk, Host, Lease, VirtualMachine


class FileMove(NamedTuple):
    """A file that is copied: its path and image directory on the old host, and those on the new one."""

    path: str
    directory: str
    new_path: str
    new_directory: str


class MovePlan(NamedTuple):
    """The files to copy, and the disks that the machine has afterwards."""

    files: tuple[FileMove, ...]
    disks: tuple[Disk, ...]


def plan_in_place(vm: VirtualMachine) -> MovePlan:
    """The plan of a live migration: each disk is a file that keeps its path (`check_live`), or stays on its NAS."""
    folders = {disk.path: disk.path.rpartition("/")[0] for disk in vm.disks if not disk.is_mapped}
    return MovePlan(tuple(FileMove(path, folder, path, folder) for path, folder in folders.items()), vm.disks)


def plan_move(
    vm: VirtualMachine,
    target: Host,
    on_nas: Collection[int],
    partitions: Iterable[tuple[str | None, str | None]],
) -> MovePlan:
    """The plan; `on_nas` has the numbers of disks that a NAS has, which stay there.

    A file keeps its path where that is in an image directory of the new host; else it goes to the folder for new
    images there. StateError for a disk that cannot be moved.
    """
    source, sizes = container_of(vm), list(partitions)
    files: list[FileMove] = []
    disks: list[Disk] = []
    for number, disk in enumerate(vm.disks):
        if number in on_nas or disk.is_mapped:
            disks.append(disk)
            continue
        file = _plan_file(vm, source, target, disk, sizes)
        folder, _, name = file.new_path.rpartition("/")
        files.append(file)
        disks.append(disk if file.new_path == file.path else replace(disk, prefix=folder, name=name))
    paths = [file.new_path for file in files]
    for path in paths:
        if paths.count(path) > 1:
            raise StateError(f"{vm.name} is not moved: two of its disks would be {path} on {target.name}")
    return MovePlan(tuple(files), tuple(disks))


def _plan_file(
    vm: VirtualMachine,
    source: Host,
    target: Host,
    disk: Disk,
    partitions: Sequence[tuple[str | None, str | None]],
) -> FileMove:
    if disk.is_block:
        raise StateError(
            f"{vm.name} is not moved: its disk {disk.specification} is a device of {source.name}, and only files and "
            f"images of a NAS are moved"
        )
    directory = directory_of(source, disk.path)
    if directory is None:
        raise StateError(
            f"{vm.name} is not moved: its disk {disk.path} is outside the image directories of {source.name}; "
            f"rocks list host image {source.name} shows what is in them"
        )
    there = directory_of(target, disk.path)
    if there is not None:
        return FileMove(disk.path, directory, disk.path, there)
    folder = image_folder(target, partitions).rstrip("/")
    path = f"{folder}/{disk.path.rpartition('/')[2]}"
    return FileMove(disk.path, directory, path, directory_of(target, path) or folder)


def check_live(vm: VirtualMachine, target: Host, plan: MovePlan, lease: Lease | None) -> None:
    """StateError when the machine does not run, by its lease, or a disk would have another path on its new host."""
    source = container_of(vm).name
    stop = "stop it, and move it without live=yes"
    if lease is None or lease.state != RUNNING or (lease.host or "").lower() != source.lower():
        move = f"without live=yes: rocks move host vm {vm.name} {target.name}"
        state, remedy = "off", f"a machine that is off moves {move}"
        if lease is not None and lease.is_held:
            state = f"{lease.state} on {lease.host}"
            if lease.state == SAVED:
                remedy = f"rocks restore host vm {vm.name} continues it there"
            else:  # a stop whose host did not answer, too, is ended by another one
                remedy = f"rocks stop host vm {vm.name} ends that; then it moves {move}"
        raise StateError(f"{vm.name} does not run on {source}, by its lease it is {state}; {remedy}")
    for file in plan.files:
        if file.path != file.new_path:
            raise StateError(
                f"{vm.name} does not move while it runs: its disk {file.path} would be {file.new_path} on "
                f"{target.name}; give that host the image directory {file.directory} (attribute vm_image_directories), "
                f"or {stop}"
            )


def check_is_off(
    vm: VirtualMachine, lease: Lease | None, facts: Mapping[str, HostFacts | RocksError]
) -> None:
    """StateError when the machine may be running; HostError when one of the hosts does not answer."""
    if lease is not None and lease.state == SAVED:
        raise StateError(
            f"{vm.name} is not moved: its guest is saved on {lease.host}; restore it and shut it down (rocks restore "
            f"host vm {vm.name}), or discard what it had in memory: rocks stop host vm {vm.name} saved=remove"
        )
    if lease is not None and lease.is_held:
        raise StateError(
            f"{vm.name} is not moved: it may be running on {lease.host}; stop it first: rocks stop host vm {vm.name}"
        )
    for host, answer in facts.items():
        if isinstance(answer, RocksError):
            raise HostError(f"{vm.name} is not moved: {answer}")
        if is_active(answer, vm.name):
            raise StateError(
                f"{vm.name} is not moved: {host} reports that it runs there; stop it first: "
                f"rocks stop host vm {vm.name}"
            )


def check_source(
    vm: VirtualMachine, file: FileMove, found: Mapping[str, ImageFact], *, is_running: bool = False
) -> ImageFact | None:
    """The file on the old host; None when it does not exist yet. StateError when it is not the machine's, or in use.

    With `is_running` the machine itself uses it.
    """
    source, fact = container_of(vm).name, found.get(file.path)
    if fact is None:
        return None
    if fact.machine != vm.uuid:
        raise StateError(
            f"{vm.name} is not moved: its disk {file.path} on {source} belongs to {fact.machine or 'nobody'}; "
            f"rocks list host image {source} shows all"
        )
    if fact.user and not (is_running and fact.user == vm.name):
        remedy = f"; to remove its domain there: rocks stop host vm {vm.name}" if fact.user == vm.name else ""
        raise StateError(
            f"{vm.name} is not moved: its disk {file.path} on {source} is in use by {fact.user}{remedy}"
        )
    return fact


def check_source_there(vm: VirtualMachine, host: str, file: FileMove, found: Mapping[str, ImageFact]) -> None:
    """StateError unless the host has the file, as the machine's, and nothing uses it."""
    fact = found.get(file.path)
    if fact is None or fact.machine != vm.uuid:
        whose = "is not there" if fact is None else f"belongs to {fact.machine or 'nobody'} there"
        raise StateError(
            f"{vm.name} cannot use the disks of {host}: {file.path} {whose}; rocks list host image {host} shows all"
        )
    if fact.user:
        raise StateError(
            f"{vm.name} cannot use the disks of {host}: {file.path} is in use by {fact.user} there"
        )


def check_no_snapshots(vm: VirtualMachine, found: Mapping[str, ImageFact]) -> None:
    """StateError when the machine has snapshots on the old host: they would stay there, of disks that are gone."""
    copies = [read_copy(fact.path) for fact in found.values() if vm.uuid and fact.machine == vm.uuid]
    for copy in copies:
        if copy is not None:
            raise StateError(
                f"{vm.name} is not moved: its snapshot {copy.snapshot} is on {container_of(vm).name} and would stay "
                f"there; remove it first: rocks remove host vm snapshot {vm.name} {copy.snapshot}"
            )


def check_target(
    vm: VirtualMachine, target: Host, file: FileMove, found: Mapping[str, ImageFact], is_copy: bool
) -> None:
    """StateError for a file at the new place that no move made; `is_copy`: a move made it."""
    for path, may_exist in ((file.new_path, is_copy), (moving_path(file.new_path), True)):
        fact = found.get(path)
        if fact is not None and not (may_exist and fact.machine == vm.uuid):
            raise StateError(
                f"{vm.name} is not moved: there is a file {path} on {target.name} that is no copy of a move "
                f"(rocks list host image {target.name}); if it is not needed: rocks remove host image {target.name} "
                f"{in_quotes(path)}"
            )


def check_space(vm: VirtualMachine, target: Host, path: str, needed_bytes: int, free_bytes: int) -> None:
    """StateError when the file system of the path has too little space for so many bytes."""
    needed = needed_bytes + LEAST_FREE_BYTES
    if free_bytes < needed:
        raise StateError(
            f"{vm.name} is not moved: its disks and the {size_text(LEAST_FREE_BYTES)} that must stay free need "
            f"{size_text(needed)} on {target.name}, and the file system of {path} has {size_text(free_bytes)} free; "
            "free space there, or use another folder"
        )


def check_other_host(vm: VirtualMachine, target: Host) -> None:
    """UserError for the host that the machine has already, and for itself."""
    if target.name.lower() == vm.name.lower():
        raise UserError(f"host {vm.name} cannot be its own physical host; name another one")
    if vm.container is not None and vm.container.name.lower() == target.name.lower():
        raise UserError(f"{vm.name} is on {target.name} already; name another host")


def left_paths(vm: VirtualMachine, files: Sequence[FileMove]) -> tuple[str, ...]:
    """What the machine leaves on its old host: the files, and its small disk for cloud-init."""
    seed = seed_path(vm)
    return (*(file.path for file in files), *(() if seed is None else (seed,)))
