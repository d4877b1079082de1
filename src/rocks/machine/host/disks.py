"""Disks of guests: facts of a path, creation of missing images, and checks of existing ones. Nothing is removed here.

A complete image bears the UUID of its machine and gets its name by link(2), which never replaces a file. libvirt then
changes its owner to the user of the guests (dynamic ownership). That user must be able to traverse the folders, so new
folders get mode 0711, or 0710 with a group of QEMU.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

from rocks.core import dry_run
from rocks.core.errors import Code, HostError, StateError
from rocks.core.files import SECRET, Draft, draft, explain
from rocks.core.image_formats import disk_format
from rocks.core.names import in_quotes
from rocks.core.process import run_checked
from rocks.core.units import BYTES_PER_GB
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DiskFact
from rocks.fleet.wire.requests import DiskSpec
from rocks.machine.host.files.bases import check_medium, copy_base
from rocks.machine.host.files.block import check_device, check_identity
from rocks.machine.host.files.formats import check_refers_to_nothing
from rocks.machine.host.files.owners import ImageOwners
from rocks.machine.host.files.paths import (
    check_mounted,
    check_owner,
    check_path,
    open_file,
    opened_image_folder,
)
from rocks.machine.host.files.users import ImageKey, key_of
from rocks.machine.host.libvirt.domain_xml import DiskIdentity

__all__ = ["check_is_own", "check_path", "ensure_disk", "identity_at", "is_same", "read_disk"]

_QEMU_IMG_DEADLINE_SECONDS = 30.0
_STAT_DEADLINE_SECONDS = 30.0

CheckUnused = Callable[[str, ImageKey], None]
"""Raises StateError when a machine or a program uses the file of the path."""


def read_disk(path: str) -> DiskFact:
    """The disk at the path. UserError for a path that is relative or contains `..`."""
    check_path(path)
    try:
        status = Path(path).stat()
    except OSError:
        status = None
    is_block = status is not None and stat.S_ISBLK(status.st_mode)
    filesystem_bytes, free_bytes, folder = (0, 0, "") if is_block else _filesystem_of(Path(path))
    return DiskFact(
        path=path,
        exists=status is not None,
        is_block=is_block,
        size_bytes=device_bytes(path) if is_block else 0 if status is None else status.st_size,
        filesystem_bytes=filesystem_bytes,
        free_bytes=free_bytes,
        folder=folder,
    )


def ensure_disk(
    spec: DiskSpec, owners: ImageOwners, check_unused: "Optional[CheckUnused]" = None
) -> Tuple[Change, DiskIdentity]:
    """Create a sparse image, empty or from its base, unless the disk exists; it must belong to the machine then.

    With `check_unused`, a file that root put there for the machine becomes its own (`DiskSpec.put_after`), unless it is
    in use.

    StateError, with the code IMAGE_FOREIGN, for a disk of another machine, IMAGE_UNOWNED for one of an unknown one.
    StateError too for a path by which local users or the guest could reach another file, for a device that the host
    uses, when the path is another kind of file, and as `check_mounted`; HostError when creation fails.
    """
    check_path(spec.path)
    if spec.is_block:
        return _ensure_device(spec, owners)
    if not spec.is_cdrom:
        check_mounted(spec.path)
    try:
        with opened_image_folder(spec.path, spec.directory, make=not spec.is_cdrom) as folder:
            name = Path(spec.path).name
            descriptor = open_file(folder, name, spec.path)
            change = UNCHANGED
            if descriptor is None and not spec.is_cdrom:
                _create_image(Path(spec.path), spec, owners)
                change, descriptor = CHANGED, open_file(folder, name, spec.path)
            if descriptor is None:
                raise StateError(f"there is no file {spec.path} on this host")
            try:
                if check_unused is not None and _is_put_there(spec, owners, descriptor):
                    check_unused(spec.path, key_of(os.fstat(descriptor)))
                    _check_content(spec, descriptor)
                    give_file(descriptor, spec.path, spec.machine, owners)
                return change, _checked(spec, owners, descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        path = Path(spec.path)
        if spec.is_cdrom and isinstance(error, FileNotFoundError):
            raise StateError(f"there is no file {path} on this host") from None
        raise HostError(f"cannot make the image {path}: {explain(error, path)}") from None


def check_is_own(spec: DiskSpec, owners: ImageOwners) -> None:
    """StateError, as `ensure_disk`, for a disk of another machine, or of an unknown one; none for one to be made."""
    if spec.is_block and not spec.is_mapped:
        _ensure_device(spec, owners)
    elif spec.machine and not (spec.is_block or spec.is_cdrom):
        with contextlib.suppress(OSError), opened_image(spec.path) as descriptor:
            if _is_put_there(spec, owners, descriptor):
                _check_content(spec, descriptor)
            else:
                _check_machine(spec, owners.of_file(descriptor, spec.path), descriptor)


def identity_at(path: str) -> DiskIdentity:
    """What the path leads to now, without the mark of a machine. HostError when it leads to nothing."""
    try:
        return _identity(path, Path(path).stat())
    except OSError as error:
        raise HostError(f"the disk {path} cannot be read: {explain(error, Path(path))}") from None


def is_same(disk: DiskIdentity, owners: ImageOwners) -> bool:
    """Whether the path still leads to the same file or device.

    A file with its machine's mark may be on a device of another number: a boot may number devices anew, and a saved
    guest continues after one.
    """
    try:
        status = Path(disk.path).stat()
        is_marked = not disk.machine or disk.machine == mark_at(disk.path, owners)
    except (OSError, HostError):
        return False
    present = _identity(disk.path, status)
    if disk.machine and disk.inode and present.inode:
        present = present._replace(device=disk.device)
    return is_marked and present == disk._replace(machine="")


def mark_at(path: str, owners: ImageOwners) -> Optional[str]:
    """The UUID of the machine that the file at the path belongs to, as `ImageOwners.of_file`. OSError."""
    with opened_image(path) as descriptor:
        return owners.of_file(descriptor, path)


@contextlib.contextmanager
def opened_image(path: str) -> Iterator[int]:
    """A descriptor of the file at the path, opened to read. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ensure_device(spec: DiskSpec, owners: ImageOwners) -> Tuple[Change, DiskIdentity]:
    device = check_device(spec.path, is_mapped=spec.is_mapped)
    if spec.is_cdrom:
        _check_medium(spec.path, owners.of_device(device.identity))
    elif spec.machine and not spec.is_mapped:
        check_identity(device, spec.path)
        _check_machine(spec, owners.of_device(device.identity))
    return UNCHANGED, DiskIdentity(spec.path, device.number, 0)


def _checked(spec: DiskSpec, owners: ImageOwners, descriptor: int) -> DiskIdentity:
    status = os.fstat(descriptor)
    if spec.is_cdrom and spec.base is not None:
        check_medium(spec.base, spec.path, descriptor, owners)
    elif spec.is_cdrom:
        _check_medium(spec.path, owners.of_file(descriptor, spec.path), status)
    else:
        _settle_owner(spec, owners, descriptor)
        check_refers_to_nothing(descriptor, spec.path, spec.format)
    return _identity(spec.path, status)._replace(machine="" if spec.is_cdrom else spec.machine)


def _check_medium(path: str, found: Optional[str], status: Optional[os.stat_result] = None) -> None:
    """A CD is no machine's disk, and no file that local users cannot read: the guest would read its content."""
    if found is not None:
        raise StateError(f"{path} is not a CD: it is the disk of a machine ({found[:36]})")
    if status is not None and not status.st_mode & stat.S_IROTH:
        raise StateError(
            f"{path} is not used as a CD: not every user may read it. If any guest may, run `chmod o+r {path}` on "
            "the host"
        )


def _settle_owner(spec: DiskSpec, owners: ImageOwners, descriptor: int) -> None:
    """The image is the machine's and nobody else can open it."""
    if spec.machine:
        _check_machine(spec, owners.of_file(descriptor, spec.path), descriptor)
    check_owner(spec.path, os.fstat(descriptor))
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != SECRET:
        os.fchmod(descriptor, SECRET)


def give_file(descriptor: int, path: str, machine: str, owners: ImageOwners) -> None:
    """Make an open image the machine's: root's file, mode 0600, with its UUID. OSError."""
    os.fchmod(descriptor, SECRET)
    if os.geteuid() == 0:
        os.fchown(descriptor, 0, 0)
    owners.set_file(descriptor, path, machine)


def _is_put_there(spec: DiskSpec, owners: ImageOwners, descriptor: int) -> bool:
    """Whether the file was never a machine's, and root has put it there for this one."""
    is_file = bool(spec.machine and spec.put_after) and not (spec.is_block or spec.is_cdrom)
    return is_file and owners.of_file(descriptor, spec.path) is None and not _doubt(spec, descriptor)


def _doubt(spec: DiskSpec, descriptor: int) -> str:
    """Why a file without an owner may not have been put there by root for the machine; '' for one that was.

    No program sets the birth time of a file: not cp -p, chmod, a backup or a new label. Only root can move another file
    to the path. It must be later than the recorded second: within that second it is not known which was first.
    """
    status = os.fstat(descriptor)
    if spec.base is not None:
        return "the disk is to be made from an image"
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        return "others than root may write it"
    if not ImageOwners.has_owner_attributes(descriptor):
        return "its file system keeps no marks of owners"
    with dry_run.question():
        asked = run_checked(["stat", "--format=%W", "--", spec.path], deadline_seconds=_STAT_DEADLINE_SECONDS)
    made = asked.text.strip()
    if not made.isdigit() or made == "0":
        return "its file system does not say when it was made"
    if int(made) < spec.put_after:
        return "it was there before the machine had this disk"
    if int(made) == spec.put_after:
        return "it was made in the second in which the machine got this disk: copy it, and move the copy to its place"
    return ""


def _check_content(spec: DiskSpec, descriptor: int) -> None:
    """StateError when a file that root put there is empty, or of another format: it would be started as it is."""
    start, path = os.pread(descriptor, 128, 0), in_quotes(spec.path)
    found = disk_format(start) or "raw"
    if not start:
        reason = f"it is empty. Copy an image to it, or remove it (rm {path}), and the start makes a disk"
    elif found != spec.format:
        reason = (
            f"its format is {found}, and that of the disk is {spec.format}. On the host: qemu-img convert -f {found} "
            f"-O {spec.format} {path} NEW, and move NEW to its place"
        )
    else:
        return
    raise StateError(
        f"the file {spec.path}, which was put there for the machine, is not taken as its disk: {reason}"
    )


def _check_machine(spec: DiskSpec, found: Optional[str], descriptor: Optional[int] = None) -> None:
    if found is None:
        doubt = _doubt(spec, descriptor) if descriptor is not None and spec.put_after else ""
        raise StateError(
            f"nobody is known to own the disk {spec.path} that is there{f': {doubt}' if doubt else ''}",
            code=Code.IMAGE_UNOWNED,
        )
    if found != spec.machine:
        raise StateError(
            f"the disk {spec.path} that is there belongs to another machine ({found[:36]})",
            code=Code.IMAGE_FOREIGN,
        )


def _identity(path: str, status: os.stat_result) -> DiskIdentity:
    if stat.S_ISBLK(status.st_mode):
        return DiskIdentity(path, status.st_rdev, 0)
    return DiskIdentity(path, status.st_dev, status.st_ino)


def _create_image(path: Path, spec: DiskSpec, owners: ImageOwners) -> None:
    try:
        with draft(path, replace=False) as image:
            _fill(image, spec, owners)
            if spec.machine:
                owners.set_file(image.descriptor, spec.path, spec.machine)
    except FileExistsError:
        raise StateError(f"{path} was created by another process; try again") from None


def _fill(image: Draft, spec: DiskSpec, owners: ImageOwners) -> None:
    size_bytes = spec.size_gb * BYTES_PER_GB
    if spec.base is not None:
        if spec.format != "raw" or spec.base.size_bytes > size_bytes:
            raise StateError(
                f"the disk {spec.path} cannot be made from its image: it is not raw, or too small"
            )
        copy_base(spec.base, image.descriptor, owners)
        os.ftruncate(image.descriptor, size_bytes)
    elif spec.format == "raw":
        os.ftruncate(image.descriptor, size_bytes)
    else:
        run_checked(
            ["qemu-img", "create", "-q", "-f", spec.format, str(image.path), str(size_bytes)],
            deadline_seconds=_QEMU_IMG_DEADLINE_SECONDS,
        )


def _filesystem_of(path: Path) -> "tuple[int, int, str]":
    """Size and free space, in bytes, of the nearest folder that exists, and that folder."""
    for folder in path.parents:
        try:
            filesystem = os.statvfs(folder)
        except OSError:
            continue
        size_bytes, free_bytes = (
            count * filesystem.f_frsize for count in (filesystem.f_blocks, filesystem.f_bavail)
        )
        return size_bytes, free_bytes, str(folder)
    return 0, 0, ""


def device_bytes(path: str) -> int:
    """The size of a device; 0 when it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
