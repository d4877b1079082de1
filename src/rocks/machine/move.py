"""Move a virtual machine that is off to another host; rules of every move; which disks count after a live one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.names import in_quotes
from rocks.core.values import size_text
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.wire.facts import is_active
from rocks.fleet.wire.live_moves import CHECKED, DIFFERS, HAVE, STORED, moving_path
from rocks.fleet.wire.requests import ImagesRequest
from rocks.fleet.wire.snapshot_names import read_copy
from rocks.inventory.address_records import host_addresses
from rocks.inventory.disks.places import directory_of, medium_of
from rocks.inventory.host_records import lock_inventory, unlock_inventory
from rocks.inventory.host_requests import ask_each, open_fleet
from rocks.inventory.hosts import node_ids
from rocks.inventory.loaded_host_records import mounts_of
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import RUNNING, SAVED
from rocks.library.guest_images import seed_path
from rocks.library.limits import LEAST_FREE_BYTES, STALLED_SECONDS
from rocks.library.progress import Meter
from rocks.library.streams import END_SECONDS, failure_of, start_agent
from rocks.machine import add
from rocks.machine import record as table
from rocks.machine.add import image_folder, load_containers
from rocks.machine.change import host_vlans
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of
from rocks.machine.images import folders_of, remove_files
from rocks.machine.record import DiskCopy
from rocks.machine.spec import container_of, spec_of
from rocks.network.cluster_vlans import record_host_vlans
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import DiskFact, HostFacts
    from rocks.fleet.wire.requests import ImageFact
    from rocks.inventory.records import Disk, Host, Lease, VirtualMachine
    from rocks.library.progress import Progress


# A virtual machine moves from one physical host to another: its disks, and where they will be.


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


def check_target_space(
    vm: VirtualMachine, target: Host, path: str, needed_bytes: int, free_bytes: int
) -> None:
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


# Disks of stopped machines from one host to another: this machine passes the stream of one agent on to the other.

_LONGEST_LINE = 200
_FLUSH_SECONDS = 3600.0
"""In which a host has what it took on its disk: before that it reports nothing."""


class MovingDisk(NamedTuple):
    """A disk, its image directory on the old host, its place on the new one, its machine's UUID, its size in bytes.

    `is_repeated`: a file of the machine at the new place is a copy that an earlier move made.
    """

    path: str
    directory: str
    new_path: str
    new_directory: str
    machine: str
    size_bytes: int
    is_repeated: bool


def move_disk(
    source: HostAddress,
    target: HostAddress,
    settings: FleetSettings,
    disk: MovingDisk,
    watch: Callable[[int], None] = lambda passed: None,
) -> str:
    """Store the disk on `target`, which has its part of an earlier attempt; returns the digest that both have.

    `watch` gets the bytes that were passed on, and may end it. HostError when a host fails, or states why not.
    """
    if dry_run.would(target.name, f"receive the disk {disk.new_path} from {source.name}"):
        return ""
    try:
        return _Attempt(source, target, settings, disk).run(watch)
    except _DifferentError:  # the part of an earlier attempt is cut there now
        return _Attempt(source, target, settings, disk).run(watch)


class _DifferentError(HostError):
    """The disk has changed since a part of it was sent."""


class _Attempt:
    """Both agents. The new host is asked first, so that the old one knows what is there already."""

    def __init__(
        self, source: HostAddress, target: HostAddress, settings: FleetSettings, disk: MovingDisk
    ) -> None:
        self._source, self._target, self._settings, self._disk = source, target, settings, disk
        self._lines = b""
        self._has_ended = False

    def run(self, watch: Callable[[int], None]) -> str:
        disk = self._disk
        mode = ["move-disk-to", disk.new_path, disk.new_directory, disk.machine, str(disk.size_bytes)]
        to = start_agent(self._target, self._settings, [*mode, "again" if disk.is_repeated else "new"])
        try:
            have = self._line(to, STALLED_SECONDS)
            if have[0] != HAVE or not have[1].isdigit():
                raise self._not_stored(f"it reported {' '.join(have)!r}")
            self._pass_on(to, have[1], watch)
            to.close()
            return self._digest(to)
        except (EOFError, BrokenPipeError):
            raise self._fault(to) from None
        except TimeoutError:
            raise self._not_stored(
                f"it took nothing, or reported nothing, for {STALLED_SECONDS:g} s"
            ) from None
        finally:
            if not self._has_ended:
                to.end()

    def _pass_on(self, to: PipeStream, have: str, watch: Callable[[int], None]) -> None:
        """Send the new host what the old one sends, to its end."""
        disk, passed = self._disk, 0
        stream = start_agent(
            self._source, self._settings, ["move-disk-from", disk.path, disk.directory, disk.machine, have]
        )
        try:
            stream.close()
            while data := self._received(stream):
                to.send(data, Deadline(STALLED_SECONDS))
                passed += len(data)
                watch(passed)
            reason = failure_of(stream, STALLED_SECONDS, "its agent has not ended; repeat the command")
        except BaseException:
            stream.end()
            raise
        if reason:
            raise HostError(f"host {self._source.name} has not sent the disk {disk.path}: {reason}")

    def _received(self, stream: PipeStream) -> bytes:
        try:
            return stream.receive(Deadline(STALLED_SECONDS))
        except TimeoutError:
            raise HostError(
                f"host {self._source.name} sent no data of the disk for {STALLED_SECONDS:g} s"
            ) from None

    def _digest(self, to: PipeStream) -> str:
        """What the new host reports at its end; while it reads the disk back, it reports now and then."""
        while True:
            parts = self._line(to, _FLUSH_SECONDS)
            if parts[0] == STORED:
                self._has_ended = True
                reason = failure_of(to, END_SECONDS, "its agent has not ended; repeat the command")
                if reason:
                    raise self._not_stored(reason)
                return parts[1]
            if parts[0] == DIFFERS:
                raise self._fault(to, is_different=True)
            if parts[0] != CHECKED:
                raise self._not_stored(f"it reported {' '.join(parts)!r}")

    def _fault(self, to: PipeStream, is_different: bool = False) -> HostError:
        """Why the new host takes nothing any more."""
        self._has_ended = True
        ended = to.collect(Deadline(END_SECONDS))
        if is_different or (self._lines + ended.output).startswith(DIFFERS.encode()):
            return _DifferentError(f"the part of {self._disk.new_path} on {self._target.name} differs")
        printed = ended.error_output.decode("utf-8", "replace").strip().splitlines()
        return self._not_stored(printed[-1] if printed else f"its agent ended with {ended.exit_status}")

    def _line(self, to: PipeStream, seconds: float) -> list[str]:
        """The two parts of the next line. EOFError at the end, TimeoutError."""
        while b"\n" not in self._lines:
            data = to.receive(Deadline(seconds))
            if not data:
                raise EOFError
            self._lines += data
            if len(self._lines) > _LONGEST_LINE * 100:
                raise self._not_stored("it reports what is no progress of a disk")
        line, _, self._lines = self._lines.partition(b"\n")
        parts = line[:_LONGEST_LINE].decode("ascii", "replace").split()
        return parts if len(parts) == 2 else ["nothing", repr(parts)]

    def _not_stored(self, reason: str) -> HostError:
        return HostError(f"host {self._target.name} has not stored the disk {self._disk.new_path}: {reason}")


# Move a machine that is off: its files are copied, then its new place is recorded.
#
# Until the record is changed the machine is startable on its old host, afterwards on the new one. What the other host
# has is recorded as a copy before it is made, and no machine is recorded with a copy (decision 120). A command that
# was killed is completed by repeating it.

_AWAKE_SECONDS = 600.0
"""The server ends a connection that is idle for hours."""


class MoveReporter(NamedTuple):
    """How a move reports: `notify` prints a line, `progress` shows one that the next replaces."""

    notify: Callable[[str], None]
    progress: Progress


class File(NamedTuple):
    """A file to copy, with the facts of the old host; None when there is none yet."""

    move: FileMove
    fact: ImageFact | None


def move_vm(database: Database, name: str, host: str, reporter: MoveReporter) -> list[str]:
    """Move the machine to the physical host; returns lines for the operator. Commits.

    UserError and StateError when it cannot be moved, BusyError while another command changes it: then nothing is
    changed. After an error of a host the machine is where it was, and the same command continues.
    """
    ensure_epoch(database, reporter.notify)
    ensure_locked(database, [name])
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    copies = table.read_copies(database, name)
    if vm.container is not None and vm.container.name.lower() == host.lower():
        if not copies:
            check_other_host(vm, vm.container)
        return remove_left(database, vm)
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    files = _check(database, vm, target, plan, copies)
    _warn_of_start(database, vm, target, plan, reporter.notify)
    there = [DiskCopy(target.name, file.new_path) for file in plan.files]
    table.put_copies(database, vm.name, there)
    database.commit()
    lines = [line for file in files for line in _copy(database, vm, target, file, copies, reporter)]
    record_move(database, vm, target, plan)
    database.commit()
    unlock_inventory(database)
    (moved,) = table.load_vms(database, [name])
    return [*lines, f"{vm.name} is on {target.name} now", *remove_left(database, moved)]


def check_movable(database: Database, name: str, host: str) -> None:
    """StateError when the machine could not be moved to the host even if it were off; HostError when one is silent.

    What only a machine that is off shows, such as its files, is checked by `move_vm`.
    """
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    here, _ = _images(database, plan, [container_of(vm).name, target.name])
    check_no_snapshots(vm, here)


def _warn_of_start(
    database: Database, vm: VirtualMachine, target: Host, plan: MovePlan, notify: Callable[[str], None]
) -> None:
    """Say why its records would not let the machine start there: it may be the first of several that move."""
    there = as_moved(database, vm, target, plan)
    try:
        spec_of(there, connections_of(there), hosts_beside(database, vm), "would not start")
    except StateError as error:
        if not dry_run.would(target.name, f"refuse the start then: {error}"):
            notify(f"Warning: on {target.name}, {error}")


def as_moved(database: Database, vm: VirtualMachine, target: Host, plan: MovePlan) -> VirtualMachine:
    """The machine as it will be recorded, with the VLANs that its new host carries for it; nothing is recorded yet."""
    record_on_host(database, vm, target)
    (there,) = table.load_vms(database, [vm.name])
    database.rollback()
    unlock_inventory(database)
    return replace(there, disks=plan.disks)


def hosts_beside(database: Database, vm: VirtualMachine) -> dict[int, list[str]]:
    """VLAN id of the machine → the hosts of the other machines on it."""
    vlans = (interface.vlan for interface in vm.host.interfaces if interface.vlan)
    return table.hosts_of_vlans(database, vlans, without=vm.name)


def load_target(database: Database, vm: VirtualMachine, name: str) -> Host:
    """The host that gets the machine, with its file systems. UserError and StateError when it cannot get it."""
    (target,) = load_containers(database, [name])
    check_other_host(vm, target)
    return replace(target, mounts=mounts_of(database, [target.name]).get(target.name, ()))


def plan_of(database: Database, vm: VirtualMachine, target: Host) -> MovePlan:
    """As `plan_move`, from the records."""
    container_of(vm)
    medium_of(vm, target)
    locations = disk_locations(database, [vm.name])
    partitions = add.read_inventory(database, [target.name]).partitions
    on_nas = {location.number for location in locations if location.nas}
    return plan_move(vm, target, on_nas, partitions.get(target.name.lower(), ()))


def _check(
    database: Database, vm: VirtualMachine, target: Host, plan: MovePlan, copies: list[DiskCopy]
) -> list[File]:
    """Ask both hosts, and check all that can be checked before something is changed."""
    source = container_of(vm)
    lease = leases.read_leases(database, [vm.name]).get(vm.name.lower())
    paths = [file.new_path for file in plan.files] + ([vm.cdrom_path] if vm.cdrom_path else [])
    hosts = [source.name, target.name]
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts, files={target.name: paths})
    check_is_off(vm, lease, facts)
    answer = facts[target.name]
    assert not isinstance(answer, RocksError)
    return check_files(database, vm, target, plan, copies, answer)


def check_files(
    database: Database,
    vm: VirtualMachine,
    target: Host,
    plan: MovePlan,
    copies: list[DiskCopy],
    answer: HostFacts,
    *,
    is_running: bool = False,
) -> list[File]:
    """The files of the machine, checked on both hosts; `answer` has the new places. StateError, HostError."""
    hosts = [container_of(vm).name, target.name]
    places = {disk.path: disk for disk in answer.disks}
    if vm.cdrom_path and not places[vm.cdrom_path].exists:
        raise StateError(
            f"{vm.name} is not moved: its CD {vm.cdrom_path} is not on {target.name}; copy it there, or eject it: "
            f"rocks set host vm cdrom {vm.name} cdrom=none"
        )
    here, there = _images(database, plan, hosts)
    check_no_snapshots(vm, here)
    files = []
    for move in plan.files:
        fact = check_source(vm, move, here, is_running=is_running)
        is_copy = fact is not None and DiskCopy(target.name, move.new_path) in copies
        check_target(vm, target, move, there, is_copy)
        files.append(File(move, fact))
    _check_space(vm, target, files, there, places)
    return files


def _images(database: Database, plan: MovePlan, hosts: list[str]) -> list[Mapping[str, ImageFact]]:
    """The image files of the old and the new host, by path."""
    if not plan.files:
        return [{}, {}]
    folders = (
        {file.path.rpartition("/")[0] for file in plan.files},
        {file.new_path.rpartition("/")[0] for file in plan.files},
    )
    requests = {
        host: ImagesRequest(tuple(sorted(of_host))) for host, of_host in zip(hosts, folders, strict=True)
    }
    found: dict[str, Mapping[str, ImageFact]] = {}
    for host, answer in ask_each(database, requests):
        if isinstance(answer, RocksError):
            raise answer
        found[host] = {fact.path: fact for fact in answer.images}
    return [found[host] for host in hosts]


def _check_space(
    vm: VirtualMachine,
    target: Host,
    files: list[File],
    there: Mapping[str, ImageFact],
    places: Mapping[str, DiskFact],
) -> None:
    """Files of one file system are counted together; those that have the same free space count as one."""
    needed: dict[int, tuple[str, int]] = {}
    for move, fact in files:
        if fact is None:
            continue
        has = [
            there[path].used_bytes for path in (move.new_path, moving_path(move.new_path)) if path in there
        ]
        free = places[move.new_path].free_bytes
        path, before = needed.get(free, (move.new_path, 0))
        needed[free] = (path, before + max(0, fact.used_bytes - sum(has)))
    for free, (path, bytes_) in needed.items():
        check_target_space(vm, target, path, bytes_, free)


def _copy(
    database: Database,
    vm: VirtualMachine,
    target: Host,
    file: File,
    copies: list[DiskCopy],
    reporter: MoveReporter,
) -> list[str]:
    """Copy a file; a line for the operator."""
    move, fact = file
    source = container_of(vm).name
    if fact is None:
        return [f"{move.path} is not on {source} yet: it is made at the next start"]
    old, new = host_addresses(database, [source]) + host_addresses(database, [target.name])
    disk = MovingDisk(
        move.path,
        move.directory,
        move.new_path,
        move.new_directory,
        vm.uuid,
        fact.size_bytes,
        DiskCopy(target.name, move.new_path) in copies,
    )
    meter = Meter(reporter.progress, move.path, fact.used_bytes)
    awake = monotonic_seconds()

    def watch(passed: int) -> None:
        nonlocal awake
        meter.reach(passed)
        if monotonic_seconds() >= awake + _AWAKE_SECONDS:
            awake = monotonic_seconds()
            leases.read_leases(database, [vm.name])
            database.end_reading()

    database.end_reading()
    digest = move_disk(old, new, FleetSettings(), disk, watch)
    reporter.progress("")
    if dry_run.is_on():
        return []
    size = f"{size_text(fact.size_bytes)}, of which {size_text(fact.used_bytes)} are used"
    return [f"{move.new_path} is on {target.name}: {size}, SHA-256 {digest[:12]} on both hosts"]


def record_move(database: Database, vm: VirtualMachine, target: Host, plan: MovePlan) -> None:
    """The new place and disks; what was a copy is the disk, and what was the disk is a copy, at once."""
    source = container_of(vm).name
    record_on_host(database, vm, target)
    if plan.disks != vm.disks:
        table.replace_disks(database, vm.name, plan.disks)
    there = [copy for copy in table.read_copies(database, vm.name) if copy.host == target.name]
    table.delete_copies(database, vm.name, there)
    left = left_paths(vm, plan.files)
    table.put_copies(database, vm.name, [DiskCopy(source, path) for path in left])


def record_on_host(database: Database, vm: VirtualMachine, target: Host) -> None:
    """Record the machine on another physical host, which carries its VLANs then.

    The caller ends its transaction and releases the inventory: the next machine of a drain may take hours.
    """
    lock_inventory(database)
    number = node_ids(database, [target.name])[target.name.lower()]
    table.update_vm(database, vm.name, {"PhysNode": number})
    record_host_vlans(database, host_vlans(database, vm, target))


def remove_left(database: Database, vm: VirtualMachine) -> list[str]:
    """Remove what moves of the machine have left on hosts; lines for the operator."""
    lines = []
    copies = table.read_copies(database, vm.name)
    for host in dict.fromkeys(copy.host for copy in copies):
        of_host = [copy for copy in copies if copy.host == host]
        errors = remove_files(
            database, vm, host, [path for copy in of_host for path in (copy.path, moving_path(copy.path))]
        )
        if errors:
            lines += [
                f"the old copy of {vm.name} on {host} stays: {error}; to remove it: rocks move host vm {vm.name} "
                f"{container_of(vm).name}"
                for error in errors
            ]
            continue
        table.delete_copies(database, vm.name, of_host)
        database.commit()
        lines.append(f"the old copy of {vm.name} on {host} is removed")
    return lines


# Which disks a machine has whose live migration was given up by force: an operator decides that (decision 176).


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
        table.end_doubt(database, vm.name)
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
    table.end_doubt(database, vm.name)
    database.commit()
    return lines


def _copy_stays(name: str, host: str, place: str) -> str:
    """The files of the host that was not chosen."""
    return (
        f"its other disks stay on {host}; when {name} runs and they are not needed, this removes them: rocks move host "
        f"vm {name} {place}"
    )
