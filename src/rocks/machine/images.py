"""Disk images on hosts: which machine each belongs to, giving one to a machine, removing what nobody needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import RocksError, StateError, UserError, without_errors
from rocks.core.names import in_quotes, printable
from rocks.core.terminal import one_line
from rocks.fleet.wire.requests import (
    BASE_FOLDER,
    SEED_SUFFIX,
    UNREADABLE,
    GiveImageRequest,
    ImagesRequest,
    RemoveImageRequest,
)
from rocks.fleet.wire.snapshot_names import read_copy
from rocks.inventory.disks.places import directory_of, image_directories, is_system_folder
from rocks.inventory.host_requests import ask_each, is_silent
from rocks.inventory.loaded_host_records import load_hosts, mounts_of, physical_hosts, which_are_vms
from rocks.leases.lease import ensure_locked
from rocks.library.guest_images import is_copy, seed_path
from rocks.machine import record as table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.codec import Reply, Request
    from rocks.fleet.wire.requests import Erase, ImageChange, ImageFact
    from rocks.inventory.records import Disk, Host, VirtualMachine

    Places = Mapping[str, str | None]
    """Machine → the host on which it may be running, as the leases have it (`leases.plan.place_of`)."""


ERASE_ATTRIBUTE = "vm_image_erase"
_ERASES: dict[str, Erase] = {"discard": "discard", "overwrite": "overwrite"}
REMOVED, NOBODY, UNKNOWN, LIBRARY = "removed", "nobody", "unknown", "library"


_LEFT_AT_ONCE, _LEFT_SECONDS = 20, 60.0
"""Copies that a start has a host remove, and how long it waits for each: it is not held up by them."""


class FileRow(NamedTuple):
    """An image: its machine, sizes in bytes, its user, and the UUID that it bears.

    The machine may be `REMOVED`, `NOBODY`, `UNKNOWN` or `LIBRARY`.
    """

    host: str
    path: str
    machine: str
    size_bytes: int
    used_bytes: int
    user: str
    uuid: str


def list_images(database: Database, names: Sequence[str] | None) -> tuple[list[FileRow], dict[str, str]]:
    """The images on the named hosts, or on all VM containers (None); and problems by host."""
    hosts = _containers(database, names)
    database.commit()
    found: dict[str, Sequence[ImageFact]] = {}
    problems: dict[str, str] = {}
    requests = {host.name: ImagesRequest(image_directories(host)) for host in hosts}
    for name, answer in ask_each(database, requests):
        if isinstance(answer, RocksError):
            problems[name] = str(answer)
        else:
            found[name] = answer.images
            problems.update({name: "; ".join(answer.problems)} if answer.problems else {})
    owners = table.names_of_uuids(database, {fact.machine for facts in found.values() for fact in facts})
    rows = [_row(host.name, fact, owners) for host in hosts for fact in found.get(host.name, ())]
    return rows, problems


def give_image(database: Database, host_name: str, path: str, name: str) -> None:
    """Make an image that nothing uses the machine's.

    StateError when the image is the disk of another machine, is in use, or is not in a place for disks.
    """
    (vm,) = table.load_vms(database, [name])
    ensure_locked(database, [vm.name])
    host = _containers(database, [host_name])[0]
    other = table.machine_with_disk(database, host.name, path)
    if other is not None and other.lower() != vm.name.lower():
        raise StateError(f"{path} on {host.name} is the disk of {other}; give {other} another disk first")
    fact, _ = _find(database, host, path)
    owners = table.names_of_uuids(database, {fact.machine})
    database.commit()
    if fact.machine == vm.uuid:
        return
    if fact.machine in owners and other is None:
        raise StateError(
            f"{path} on {host.name} belongs to {owners[fact.machine]}, which exists; copy the file"
        )
    request = GiveImageRequest(path, _directory(host, path), fact.is_block, vm.uuid, fact.machine)
    _ask(database, host, request)


def remove_image(database: Database, host_name: str, path: str) -> None:
    """Remove an image that is no machine's disk. StateError when it is one's.

    The small disk for cloud-init of a removed machine, which has its secrets, goes with the disk that it is beside.
    An image at the place of a machine's disk that does not bear its UUID is not its disk, also when root put it there
    for its next start.
    """
    host = _containers(database, [host_name])[0]
    other = table.machine_with_disk(database, host.name, path)
    fact, seed = _find(database, host, path)
    if other is not None and _is_disk_of(database, other, fact):
        raise StateError(
            f"{path} on {host.name} is the disk of {other}; remove {other} first (rocks remove host vm {other} "
            "disks=remove does both), or give it another disk"
        )
    database.commit()
    if seed is not None and other is None and seed.machine == fact.machine not in ("", UNREADABLE):
        _remove(database, host, seed.path, fact.machine)
    _remove(database, host, path, fact.machine, fact.is_block)
    table.forget_copy(database, host.name, path)


def _is_disk_of(database: Database, name: str, fact: ImageFact) -> bool:
    """Whether the image belongs to the machine, or may: a removed machine with a lease is not known any more."""
    if not which_are_vms(database, [name]):
        return True
    (vm,) = table.load_vms(database, [name])
    return fact.machine in (vm.uuid, UNREADABLE)


def check_erase(machines: Sequence[VirtualMachine]) -> None:
    """StateError when a container's `vm_image_erase` has no valid value."""
    for vm in machines:
        if vm.container is not None:
            _erase(vm.container)


def remove_left_copies(
    database: Database, directories: Mapping[str, Collection[str]], library: Callable[[], Collection[str]]
) -> list[str]:
    """Remove copies of images that the library does not have any more and nothing uses; a line for each.

    `directories` are image directories of hosts; `library` reads the digests of the library, after the hosts are asked:
    else the copy of an image that was added meanwhile would be removed. Owners upload and remove ISOs as they like, and
    each start of a machine may leave another copy. What a host does not list or remove stays, and so do those beyond
    `_LEFT_AT_ONCE`.
    """
    listings = {
        host: ImagesRequest(tuple(f"{directory.rstrip('/')}/{BASE_FOLDER}" for directory in of_host))
        for host, of_host in directories.items()
    }
    unused = {
        host: [fact.path for fact in answer.images if is_copy(fact.path) and not fact.user]
        for host, answer in ask_each(database, listings, _LEFT_SECONDS)
        if not isinstance(answer, RocksError)
    }
    digests = library()
    left = {
        host: [path for path in paths if PurePath(path).stem not in digests][:_LEFT_AT_ONCE]
        for host, paths in unused.items()
    }
    lines = []
    while left := {host: paths for host, paths in left.items() if paths}:
        last = {host: paths.pop() for host, paths in left.items()}
        requests = {
            host: RemoveImageRequest(path, str(PurePath(path).parents[1]), False, "")
            for host, path in last.items()
        }
        for host, removed in ask_each(database, requests, _LEFT_SECONDS):
            if isinstance(removed, RocksError):
                del left[host]
            elif not dry_run.is_on():
                lines.append(f"{last[host]} is removed from {host}: the library no longer has that image")
    return lines


def remove_disks(
    database: Database, machines: Sequence[VirtualMachine], places: Places
) -> tuple[list[str], list[str]]:
    """Remove the disks of stopped machines, as far as they bear their UUIDs; (removed, errors) for the operator.

    They are sought on the containers, and on the hosts that had the leases. Images that image storage maps stay on
    their NAS.
    """
    removed, errors = [], []
    found = _hosts_of_disks(database, machines, places)
    database.commit()
    for vm, host in found:
        for disk in vm.disks:
            if disk.is_mapped:
                continue
            try:
                if _remove(database, host, disk.path, vm.uuid, disk.is_block).changed:
                    removed.append(f"{host.name}:{disk.path}")
            except RocksError as error:
                errors.append(
                    f"the disk {disk.path} of {vm.name} on {host.name} stays: {error}; "
                    f"{how_to_remove(host.name, disk.path)}"
                )
        _remove_seed(database, vm, host, errors)
    return removed, errors


def how_to_remove(host: str, path: str) -> str:
    """The end of a line about a file that stays on a host."""
    return f"when it is not needed: rocks remove host image {host} {in_quotes(path)}"


def remove_lone_seeds(database: Database, machines: Sequence[VirtualMachine], places: Places) -> list[str]:
    """Remove the small disks for cloud-init of stopped machines whose images are on NASes; errors for the operator.

    They have the secrets of the cluster, and no image is beside them. The next start makes them again.
    """
    found = [
        (vm, host)
        for vm, host in _hosts_of_disks(database, machines, places)
        if vm.disks and vm.disks[0].is_mapped
    ]
    database.commit()
    errors: list[str] = []
    for vm, host in found:
        _remove_seed(database, vm, host, errors)
    return errors


def remove_former_seeds(
    database: Database, machines: Sequence[VirtualMachine], former: Mapping[str, Sequence[str]]
) -> list[str]:
    """Remove the small disks for cloud-init of stopped machines on hosts where they were before; errors as above.

    A host that does not answer is asked once, and gets one line: it may be the failed one that its machines have left.
    """
    seeded = [vm for vm in machines if vm.name in former and seed_path(vm) is not None]
    if not seeded:
        return []
    hosts = _containers(database, sorted({name for vm in seeded for name in former[vm.name]}))
    database.commit()
    errors: list[str] = []
    for host in hosts:
        theirs = [vm for vm in seeded if host.name in former[vm.name]]
        for vm in theirs:
            error = _remove_seed(database, vm, host, errors)
            if error is not None and is_silent(error):
                errors[-1] = (
                    f"files with secrets of {', '.join(one.name for one in theirs)}, {SEED_SUFFIX} at the end of their "
                    f"names, may stay on {host.name}: {error}; when it answers: rocks list host image {host.name}"
                )
                break
    return errors


def _remove_seed(database: Database, vm: VirtualMachine, host: Host, errors: list[str]) -> RocksError | None:
    """Remove the machine's small disk for cloud-init on the host, if it has one; the error is also added as a line."""
    path = seed_path(replace(vm, container=host))
    if path is None:
        return None
    try:
        _remove(database, host, path, vm.uuid)
    except RocksError as error:
        errors.append(f"the file {path} of {vm.name} on {host.name} stays: {error}")
        return error
    return None


def remove_disk(database: Database, vm: VirtualMachine, disk: Disk) -> bool:
    """Remove one disk of a machine that is off from its container; whether it existed. Raises the host's error."""
    assert vm.container is not None
    return _remove(database, vm.container, disk.path, vm.uuid, disk.is_block).changed


def remove_files(
    database: Database, vm: VirtualMachine, host_name: str, paths: Sequence[str]
) -> list[RocksError]:
    """Remove files of the machine on a host that are not its disks; a file that does not exist is no error."""
    (host,) = _containers(database, [host_name])
    database.end_reading()
    errors = []
    for path in paths:
        try:
            _remove(database, host, path, vm.uuid)
        except RocksError as error:
            errors.append(error)
    return errors


def remove_snapshots(
    database: Database, machines: Sequence[VirtualMachine], remaining: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Remove the snapshots of the machines' disks among `remaining_files`; (removed, errors) as `remove_disks`."""
    removed, errors = [], []
    of_disk = {disk.path: vm for vm in machines for disk in vm.disks}
    for image in remaining:
        host, _, path = image.partition(":")
        copy = read_copy(path)
        if copy is None or copy.disk not in of_disk:
            continue
        problems = remove_files(database, of_disk[copy.disk], host, [path])
        errors += [f"the snapshot {image} stays: {one}; {how_to_remove(host, path)}" for one in problems]
        removed += [] if problems else [image]
    return removed, errors


def remaining_files(
    database: Database, machines: Sequence[VirtualMachine], places: Places
) -> tuple[list[str], dict[str, RocksError]]:
    """The image files that bear the machines' UUIDs, detached ones too, as `HOST:PATH`; errors by host.

    They are sought on the containers, and on the hosts that had the leases: in the folders of the disks, and in the
    image directories. The small disks for cloud-init are not among them.
    """
    owners: dict[str, set[str]] = {}
    folders: dict[str, set[str]] = {}
    seeds = {seed_path(vm) for vm in machines}
    for vm, place in _hosts_of_disks(database, machines, places):
        paths = [disk.path for disk in vm.disks if not disk.is_block]
        if vm.uuid and paths:
            owners.setdefault(place.name, set()).add(vm.uuid)
            folders.setdefault(place.name, set()).update(folders_of(paths), image_directories(place))
    database.commit()
    requests = {host: ImagesRequest(tuple(sorted(of_host))) for host, of_host in folders.items()}
    found: list[str] = []
    errors: dict[str, RocksError] = {}
    answers = ask_each(database, requests) if requests else ()
    for host, answer in without_errors(answers, errors):
        found += [
            f"{host}:{fact.path}"
            for fact in answer.images
            if fact.machine in owners[host] and not fact.is_block and fact.path not in seeds
        ]
    return sorted(set(found)), errors


def _hosts_of_disks(
    database: Database, machines: Sequence[VirtualMachine], places: Places
) -> list[tuple[VirtualMachine, Host]]:
    """Each machine with its container, and with the host of its lease where that is another one."""
    elsewhere = {
        vm.name: place
        for vm in machines
        if (place := places.get(vm.name)) and (vm.container is None or place != vm.container.name)
    }
    others = _containers(database, sorted(set(elsewhere.values()))) if elsewhere else []
    hosts = {host.name: host for host in others}
    return [
        (vm, host)
        for vm in machines
        for host in (vm.container, hosts.get(elsewhere.get(vm.name, "")))
        if host is not None
    ]


def folders_of(paths: Iterable[str]) -> tuple[str, ...]:
    """The folders of the files; those of the host's system are not searched."""
    folders = sorted({path.rpartition("/")[0] for path in paths})
    return tuple(folder for folder in folders if not is_system_folder(folder))


def _remove(database: Database, host: Host, path: str, uuid: str, is_block: bool = False) -> ImageChange:
    request = RemoveImageRequest(path, _directory(host, path), is_block, uuid, _erase(host))
    return _ask(database, host, request)


def _row(host: str, fact: ImageFact, owners: Mapping[str, str]) -> FileRow:
    rest = {"": NOBODY, UNREADABLE: UNKNOWN}
    machine = owners.get(fact.machine) or rest.get(fact.machine, REMOVED)
    if not fact.machine and is_copy(fact.path):
        machine = LIBRARY
    path, user, uuid = one_line(fact.path), one_line(fact.user), one_line(fact.machine)
    return FileRow(host, path, machine, fact.size_bytes, fact.used_bytes, user, uuid)


def _containers(database: Database, names: Sequence[str] | None) -> list[Host]:
    """The hosts with their mounts. UserError for a virtual machine."""
    chosen = physical_hosts(database) if names is None else list(names)
    hosts = load_hosts(database, chosen)
    for host in hosts:
        if host.is_virtual and names is not None:
            raise UserError(f"host {host.name} is a virtual machine; its images are on its physical host")
    mounts = mounts_of(database, [host.name for host in hosts])
    found = [replace(host, mounts=mounts.get(host.name, ())) for host in hosts]
    return (
        found
        if names is not None
        else [host for host in found if host.is_true("kvm") and not host.is_virtual]
    )


def _find(database: Database, host: Host, path: str) -> tuple[ImageFact, ImageFact | None]:
    """The image of this path, as the host lists it, and the seed beside it."""
    facts = {fact.path: fact for fact in _ask(database, host, ImagesRequest(image_directories(host))).images}
    fact = facts.get(path)
    if fact is None:
        raise StateError(
            f"{one_line(path)} is not a disk image on {host.name}; rocks list host image {host.name} shows all"
        )
    return fact, facts.get(f"{path}{SEED_SUFFIX}")


def _directory(host: Host, path: str) -> str:
    return directory_of(host, path) or path.rpartition("/")[0] or "/"


def _erase(host: Host) -> Erase:
    text = host.attribute(ERASE_ATTRIBUTE)
    if text in _ERASES:
        return _ERASES[text]
    raise StateError(
        f"the attribute {ERASE_ATTRIBUTE} of {host.name} must be discard or overwrite, not {printable(text)!r}"
    )


def _ask(database: Database, host: Host, request: Request[Reply]) -> Reply:
    ((_, answer),) = ask_each(database, {host.name: request})
    if isinstance(answer, RocksError):
        raise answer
    return answer
