"""Snapshots of a machine's images: copies beside them, of one moment; and the way back.

QEMU copies the images of a running guest by a backup job: what the guest writes later is not in the copy, and the guest
has its images throughout. So a host that fails in between leaves an incomplete copy and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import struct
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

from rocks.core.clock import wait_seconds
from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, ToolError
from rocks.core.files import draft, explain, remove_drafts, rename_file, text_if_readable, write_file
from rocks.core.image_blocks import copy_content
from rocks.core.values import BYTES_PER_GIB, size_text
from rocks.fleet.host.change import CHANGED, Change
from rocks.fleet.host.state_folder import Place, ensure_folder
from rocks.fleet.wire.facts import DomainFact
from rocks.fleet.wire.requests import DiskSpec, MakeSnapshot, RestoreSnapshot
from rocks.fleet.wire.snapshot_names import FROZEN, MACHINE_OFF, NOT_FROZEN, Moment, is_complete, read_copy
from rocks.machine.host.disks import check_path, ensure_disk, give_file, mark_at, read_disk
from rocks.machine.host.files import open_file, opened_image_folder
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.device_xml import disk_of, target_of
from rocks.machine.host.libvirt.driver import is_active
from rocks.machine.host.libvirt.freezing import freezing
from rocks.machine.plans import Observed

_POLL_SECONDS = 0.3
_FS_IOC_UNRESVSP64 = 0x4030582B  # linux/falloc.h: the file system frees the blocks of a part of the file
_RESERVATION = "=hhxxxxqqiI16x"
_RESERVE_BYTES = BYTES_PER_GIB
_BLOCK_BYTES = 512
_PART = ".part"
MOMENT_ATTRIBUTE = "trusted.rocks.moment"
"""Beside the owner's UUID: only root reads and writes it."""

Pair = Tuple[DiskSpec, str]
"""A disk, and the path of its copy."""


def observe_snapshot(
    host: Host, operation: Union[MakeSnapshot, RestoreSnapshot], domain: Optional[DomainFact]
) -> Observed:
    """The images and their copies, and whether there is such a snapshot. IncoherentError for another request."""
    pairs = _pairs(operation.disks, operation.copies)
    if isinstance(operation, MakeSnapshot):
        check_not_restoring(host, pairs[0][0].machine, operation.name)
        _check_copies(host, pairs)
    files = {path: read_disk(path) for disk, copy in pairs for path in (disk.path, copy)}
    return Observed(domain, files, snapshot=_present(host, pairs))


def _check_copies(host: Host, pairs: Sequence[Pair]) -> None:
    """StateError for a file in the place of a copy that is another machine's, or nobody's."""
    for disk, copy in pairs:
        if os.path.lexists(copy) and _owner(host, Path(copy)) != disk.machine:
            raise StateError(
                f"{copy} is there, and is not of this machine: rocks list host image shows whose it is, rocks remove "
                "host image HOST PATH removes it; or choose another name for the snapshot"
            )


def _present(host: Host, pairs: Sequence[Pair]) -> str:
    """The name of the snapshot, if the machine has a complete one of it, of its disks or of former ones; else empty."""
    name = next((copy.snapshot for _, path in pairs if (copy := read_copy(path))), "")
    folders = {Path(disk.path).parent for disk, _ in pairs}
    files = [path for folder in sorted(folders) for path in folder.glob(f"*.snapshot.{name}.*")]
    found = [(read_copy(str(path)), _owner(host, path)) for path in files]
    machine = pairs[0][0].machine
    of_name = [copy for copy, owner in found if copy and copy.snapshot == name and owner == machine]
    return name if is_complete(of_name) else ""


def make_snapshot(host: Host, operation: MakeSnapshot) -> Change:
    """Copy the images, all at one moment. The caller has planned it, and holds the machine's lock.

    Copies of an interrupted call are made again. StateError when there is too little space; ToolError when QEMU cannot
    copy.
    """
    pairs = _pairs(operation.disks, operation.copies)
    with contextlib.ExitStack() as folders:
        for disk, _ in pairs:
            folders.enter_context(opened_image_folder(disk.path, disk.directory))
        domains = host.domains()
        is_running = is_active(domains, operation.name)
        if is_running:
            domains.end_backup(operation.name)
        try:
            for _, copy in pairs:
                _remove(copy)
            _check_space([(disk.path, is_running and disk.format == "raw") for disk, _ in pairs])
            state: Moment = MACHINE_OFF
            notes: Tuple[str, ...] = ()
            if is_running:
                state, notes = _copy_running(host, operation, pairs)
            else:
                _copy_stopped(host, pairs)
                found = domains.find(operation.name)
                if found is not None and found.has_managed_save:
                    state = NOT_FROZEN
                    notes = (
                        f"{operation.name} is saved: what its guest has not written yet is in its saved memory, so "
                        "the copy is as after a power cut",
                    )
            for disk, copy in pairs:
                _give(host, f"{copy}{_PART}", disk.machine, state)
            for _, copy in pairs:
                rename_file(Path(f"{copy}{_PART}"), Path(copy))
        except BaseException as error:
            with contextlib.suppress(RocksError):
                if is_running:
                    domains.end_backup(operation.name)
            for _, copy in pairs:
                _remove(copy)
            if isinstance(error, OSError):
                raise HostError(f"the images are not copied: {explain(error, Path(pairs[0][1]))}") from None
            raise
    return Change(True, notes)


def restore_snapshot(host: Host, operation: RestoreSnapshot) -> Change:
    """Replace the images by their copies. The caller has planned it, and holds the machine's lock.

    A start is refused from the first replaced image to the last.
    """
    pairs = _pairs(operation.disks, operation.copies)
    marker = ensure_folder(Place.RESTORING.below(host.state_folder)) / operation.name
    try:
        for disk, copy in pairs:
            with _opened_copy(host, disk, copy):
                pass
        _check_space([(copy, False) for _, copy in pairs])
        write_file(marker, pairs[0][0].machine)
        for disk, copy in pairs:
            ensure_disk(disk, host.image_owners)
            with _opened_copy(host, disk, copy) as source, draft(Path(disk.path)) as image:
                copy_content(source, image.descriptor)
                give_file(image.descriptor, disk.path, disk.machine, host.image_owners)
        marker.unlink()
    except OSError as error:
        raise HostError(f"the images are not restored: {explain(error, Path(pairs[0][0].path))}") from None
    return CHANGED


def check_not_restoring(host: Host, machine: str, name: str = "") -> None:
    """StateError when only some images of the machine with this UUID were replaced by those of a snapshot.

    A machine that has the name of a removed one has other disks. An earlier release recorded the `name` alone.
    """
    for marker in sorted(Place.RESTORING.below(host.state_folder).glob("[!.]*")):
        owner = text_if_readable(marker)
        if owner == machine if owner else marker.name == name:
            raise StateError(
                f"the disks of {marker.name} are those of a snapshot in part: a restore was interrupted. Repeat it: "
                f"rocks restore host vm snapshot {marker.name} SNAPSHOT; or remove the file {marker} on the host, to "
                "use them as they are"
            )


def _pairs(disks: Sequence[DiskSpec], copies: Sequence[str]) -> List[Pair]:
    """Each disk and its copy, which is beside it. IncoherentError for another request."""
    for disk in disks:
        check_path(disk.path)
    is_beside = all(copy.startswith(f"{disk.path}.snapshot.") for disk, copy in zip(disks, copies))
    is_valid = disks and len(disks) == len(copies) and is_beside and all(disk.machine for disk in disks)
    if not is_valid or any("/" in copy[len(disk.path) :] for disk, copy in zip(disks, copies)):
        raise IncoherentError(
            "the request names other files than copies beside the disks; please report this"
        )
    return list(zip(disks, copies))


def moment_of(descriptor: int) -> str:
    """What the file of a snapshot states about its moment, a `Moment`; empty for none."""
    try:
        return os.getxattr(descriptor, MOMENT_ATTRIBUTE).decode("ascii", "replace")
    except OSError:
        return ""


def _copy_running(
    host: Host, operation: MakeSnapshot, pairs: Sequence[Pair]
) -> Tuple[Moment, Tuple[str, ...]]:
    """Have QEMU copy the images of the running machine; whether its file systems were frozen, and notes about that."""
    name, token, domains = operation.name, operation.token, host.domains()
    assert token is not None  # as planned
    live = domains.document(name)
    files: Dict[str, Tuple[str, str]] = {}
    for disk, copy in pairs:
        element = disk_of(live, disk.path)
        assert element is not None  # as planned
        files[target_of(element)] = (f"{copy}{_PART}", disk.format)
    with freezing(host, name, token) as freeze:
        domains.begin_backup(name, files)
    while domains.backup_runs(name):
        wait_seconds(_POLL_SECONDS)
    if not domains.backup_succeeded(name):
        raise ToolError(f"QEMU did not copy the disks of {name}: the job failed, as by a full file system")
    warnings = (freeze.warning,) if freeze.warning else ()
    if freeze.problem is None:
        return FROZEN, (f"the file systems of {name} were frozen at that moment", *warnings)
    return NOT_FROZEN, (
        f"the file systems of {name} were not frozen, so the copy is as after a power cut: {freeze.problem}",
        *warnings,
    )


def _copy_stopped(host: Host, pairs: Sequence[Pair]) -> None:
    for disk, copy in pairs:
        ensure_disk(disk, host.image_owners)
        _remove_drafts(Path(disk.path))
        source = os.open(disk.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with draft(Path(f"{copy}{_PART}")) as image:
                copy_content(source, image.descriptor)
        finally:
            os.close(source)


def _remove_drafts(disk: Path) -> None:
    """Remove what snapshots of the disk, under any name, have left whose agent was killed; no list shows that."""
    for left in disk.parent.glob(f".{glob.escape(disk.name)}.snapshot.*.unfinished-*"):
        remove_drafts(left.with_name(left.name[1:].rpartition(".unfinished-")[0]))


@contextlib.contextmanager
def _opened_copy(host: Host, disk: DiskSpec, copy: str) -> Iterator[int]:
    """A descriptor of the copy. StateError when there is none, or it is not the machine's."""
    with opened_image_folder(disk.path, disk.directory) as folder:
        descriptor = open_file(folder, Path(copy).name, copy)
        if descriptor is None:
            raise StateError(f"there is no file {copy} on this host")
        try:
            if host.image_owners.of_file(descriptor, copy) != disk.machine:
                raise StateError(f"{copy} does not belong to the machine")
            yield descriptor
        finally:
            os.close(descriptor)


def _check_space(sources: Sequence[Tuple[str, bool]]) -> None:
    """StateError unless the file systems have the space that the copies of these files take, and 1 GiB besides.

    A file is given with whether its copy takes its whole size at first: QEMU writes the zeros of a raw image, too.
    """
    taken: Dict[int, int] = {}
    free: Dict[int, Tuple[int, str]] = {}
    for source, is_whole in sources:
        status = Path(source).stat()
        filesystem = os.statvfs(source)
        needed = status.st_size if is_whole else status.st_blocks * _BLOCK_BYTES
        taken[status.st_dev] = taken.get(status.st_dev, 0) + needed
        free[status.st_dev] = (filesystem.f_bavail * filesystem.f_frsize, source)
    for device, needed in taken.items():
        left, source = free[device]
        if needed + _RESERVE_BYTES > left:
            raise StateError(
                f"the file system of {source} has {size_text(left)} free; the copies take {size_text(needed)}, and "
                f"{size_text(_RESERVE_BYTES)} must stay free: remove a snapshot, or free space there"
            )


def _give(host: Host, path: str, machine: str, moment: Moment) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without such attributes: the list shows `unknown`
            os.setxattr(descriptor, MOMENT_ATTRIBUTE, moment.encode())
        give_file(descriptor, path, machine, host.image_owners)
        free_holes(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _owner(host: Host, path: Path) -> str:
    """The UUID of the machine that the file belongs to; empty for nobody's, and one that cannot be read."""
    try:
        return mark_at(str(path), host.image_owners) or ""
    except (OSError, RocksError):
        return ""


def _remove(copy: str) -> None:
    for path in (copy, f"{copy}{_PART}"):
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()


def free_holes(descriptor: int) -> None:
    """Free the parts of the file that hold no data, where the file system can. Its size and content stay."""
    end = os.fstat(descriptor).st_size
    offset = 0
    with contextlib.suppress(OSError):  # ENXIO: there is no data behind; others: the space stays taken
        while offset < end:
            hole = os.lseek(descriptor, offset, os.SEEK_HOLE)
            try:
                offset = os.lseek(descriptor, hole, os.SEEK_DATA)
            except OSError:
                offset = end
            if offset > hole:
                part = struct.pack(_RESERVATION, 0, os.SEEK_SET, hole, offset - hole, 0, 0)
                fcntl.ioctl(descriptor, _FS_IOC_UNRESVSP64, part)
