"""Disks of guests: facts, creation from bases and seeds, growth, and checks. Nothing is removed here."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
import zlib
from pathlib import Path
from typing import Callable, Iterable, Iterator, Optional, Tuple

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import Code, HostError, IncoherentError, StateError, UserError
from rocks.core.files import SECRET, Draft, draft, explain
from rocks.core.image_blocks import content_of, copy_content, disk_format, receive_content
from rocks.core.names import in_quotes
from rocks.core.process import run_checked
from rocks.core.values import BYTES_PER_GB, BYTES_PER_SECTOR, gigabytes
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DiskFact
from rocks.fleet.wire.live_moves import DiskSize
from rocks.fleet.wire.requests import BASE_FOLDER, BaseImage, DiskSpec, SeedSpec, base_path
from rocks.machine.host.files import (
    ImageKey,
    ImageOwners,
    check_closed,
    check_device,
    check_identity,
    check_mounted,
    check_owner,
    check_path,
    check_refers_to_nothing,
    key_of,
    open_file,
    opened_folder,
    opened_image_folder,
    qcow2_bytes,
)
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument
from rocks.machine.plans import smaller_image
from rocks.storage.device_mapper.tables import Placeholder

# Copies of the site's images on this host: disks of machines are made from them, and drives have those of ISOs.
#
# They are written once, and then get a time of their own as that of their last change: whatever writes to a copy
# changes it. libvirt sets owner and label of a copy in a drive, which leaves that time as it is.

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_WRITTEN_NS = 1_000_000_000
"""The time of the last change of a copy: one second after the beginning of 1970."""


def receive_base(base: BaseImage, read: Callable[[int], bytes]) -> Change:
    """Store the stream of `rocks.core.image_blocks` as the host's copy of the image; one that is there stays.

    IncoherentError when the stream is not that of this image, StateError for a folder that others can change, and as
    `check_mounted`; HostError when it cannot be written. Then nothing is left.
    """
    path = _path(base)
    check_mounted(str(path))
    try:
        with opened_folder(base.directory, f"/{BASE_FOLDER}", make=True) as folder:
            check_closed(folder, str(path.parent))
            if open_there(folder, path) is not None:
                return UNCHANGED
            with draft(path, replace=False) as image:
                found = receive_content(read, image.descriptor, base.size_bytes)
                if (found.digest, found.size_bytes) != (base.digest, base.size_bytes):
                    raise IncoherentError(
                        f"what came is the image {found.digest}, not {base.digest}; is the library sound? "
                        "rocks check image"
                    )
                _seal(image.descriptor)
    except FileExistsError:
        return UNCHANGED  # another process has just stored it
    except OSError as error:
        raise HostError(f"the image cannot be stored as {path}: {explain(error, path)}") from None
    return CHANGED


def copy_base(base: BaseImage, target: int, owners: ImageOwners) -> None:
    """Make the empty file `target` a copy of the image. StateError without the host's copy of it; OSError."""
    path = _path(base)
    try:
        with opened_folder(base.directory, f"/{BASE_FOLDER}") as folder:
            check_closed(folder, str(path.parent))
            source = open_file(folder, path.name, str(path))
    except FileNotFoundError:
        source = None
    if source is None:
        raise StateError(
            f"there is no copy {path} of the image on this host any more; start the machine again"
        )
    try:
        check_owner(str(path), os.fstat(source))
        owner = owners.of_file(source, str(path))
        if owner is not None or os.fstat(source).st_size != base.size_bytes:
            raise StateError(
                f"{path} is not the copy of an image any more; remove it: rocks remove host image HOST {path}"
            )
        copy_content(source, target)
    finally:
        os.close(source)


def check_medium(base: BaseImage, path: str, descriptor: int, owners: ImageOwners) -> None:
    """StateError unless the open file is the copy of the ISO `base` as it was received; OSError.

    The content is read only when something has written to the file since, or an earlier release stored it.
    """
    status = os.fstat(descriptor)
    check_owner(path, status)
    is_same = owners.of_file(descriptor, path) is None and path == base_path(base)
    is_same = is_same and status.st_size == base.size_bytes
    if is_same and status.st_mtime_ns != _WRITTEN_NS:
        is_same = content_of(descriptor).digest == base.digest
        if is_same:
            _seal(descriptor)
    if not is_same:
        raise StateError(f"{path} is not the ISO any more that this host received", code=Code.MEDIUM_ALTERED)


def _seal(descriptor: int) -> None:
    os.utime(descriptor, ns=(_WRITTEN_NS, _WRITTEN_NS))


def open_there(folder: int, path: Path) -> "Tuple[int, int] | None":
    """Device and inode of the copy in its open folder, or None. StateError for another kind of file."""
    descriptor = open_file(folder, path.name, str(path))
    if descriptor is None:
        return None
    status = os.fstat(descriptor)
    os.close(descriptor)
    return status.st_dev, status.st_ino


def _path(base: BaseImage) -> Path:
    check_path(base.directory)
    if not _DIGEST.match(base.digest):
        raise UserError(f"{base.digest[:80]!r} is not the digest of an image")
    return Path(base_path(base))


# The second, small disk of a machine, from which cloud-init reads its name, addresses and keys.

LARGEST_BYTES = 16 * 1024**2


def write_seed(seed: SeedSpec, owners: ImageOwners) -> Tuple[int, int]:
    """Replace the machine's seed; returns its device and inode.

    StateError when the file is not a seed of this machine, and as `check_mounted`; HostError when it cannot be written.
    """
    path = Path(check_path(seed.path))
    content = _content(seed)
    check_mounted(seed.path)
    try:
        with opened_image_folder(seed.path, seed.directory, make=True) as folder:
            _check_present(folder, path, seed.machine, owners)
            with draft(path) as new:
                new.write(content)
                owners.set_file(new.descriptor, seed.path, seed.machine)
                status = os.fstat(new.descriptor)
            return status.st_dev, status.st_ino
    except OSError as error:
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None


def _content(seed: SeedSpec) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(seed.content, validate=True), LARGEST_BYTES)
    except (binascii.Error, zlib.error, ValueError):
        raise IncoherentError(f"the content of {seed.path} is damaged") from None
    if not unpacker.eof or not content:
        raise IncoherentError(
            f"the content of {seed.path} is not whole, or larger than {LARGEST_BYTES} bytes"
        )
    return content


def _check_present(folder: int, path: Path, machine: str, owners: ImageOwners) -> None:
    descriptor = open_file(folder, path.name, str(path))
    if descriptor is None:
        return
    try:
        found = owners.of_file(descriptor, str(path))
    finally:
        os.close(descriptor)
    if found != machine:
        raise StateError(
            f"{path} that is there belongs to {found or 'nobody'}, and the machine's own file for cloud-init has this "
            f"name; remove it: rocks remove host image HOST {path}"
        )


# Disks of guests: facts of a path, creation of missing images, and checks of existing ones. Nothing is removed here.
#
# A complete image bears the UUID of its machine and gets its name by link(2), which never replaces a file. libvirt
# then changes its owner to the user of the guests (dynamic ownership). That user must be able to traverse the folders,
# so new folders get mode 0711, or 0710 with a group of QEMU.

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
    with dry_run.reading():
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


# An image of a machine that is off grows.

_QEMU_IMG_DEADLINE_SECONDS_of_growth = 60.0


def grow_image(spec: DiskSpec, owners: ImageOwners) -> Change:
    """Grow the machine's image to the size of `spec`; the new end is zeros and takes no space.

    StateError when the image is larger, is of the format qed, or is not the machine's (`ensure_disk`).
    """
    ensure_disk(spec, owners)
    path, size_bytes = Path(spec.path), spec.size_gb * BYTES_PER_GB
    try:
        present = _image_bytes(spec)
        check_growth(spec.path, present, size_bytes)
        if present == size_bytes:
            return UNCHANGED
        if spec.format == "raw":
            os.truncate(path, size_bytes)
        elif spec.format == "qcow2":
            arguments = ["qemu-img", "resize", "-q", "-f", "qcow2", spec.path, str(size_bytes)]
            run_checked(arguments, deadline_seconds=_QEMU_IMG_DEADLINE_SECONDS_of_growth)
        else:
            raise StateError(
                f"{path} is an image of the format {spec.format}, which does not grow; use qcow2"
            )
    except OSError as error:
        raise HostError(f"cannot grow the image {path}: {explain(error, path)}") from None
    return Change(True, (f"{path} has {gigabytes(size_bytes)} now",))


def smaller_image_notes(name: str, spec: DiskSpec) -> Tuple[str, ...]:
    """As `smaller_image`, of a disk of this host that was there before."""
    if spec.is_block or spec.is_cdrom or spec.format == "qed":
        return ()
    try:
        return smaller_image(name, spec, _image_bytes(spec))
    except OSError as error:
        raise HostError(f"cannot read the image {spec.path}: {explain(error, Path(spec.path))}") from None


def _image_bytes(spec: DiskSpec) -> int:
    """The size of an image as its guest sees it. OSError."""
    path = Path(spec.path)
    return qcow2_bytes(path) if spec.format == "qcow2" else path.stat().st_size


def check_growth(path: str, present: int, size_bytes: int) -> None:
    """StateError when a disk of `present` bytes would lose its end."""
    if size_bytes < present:
        raise StateError(
            f"the disk {path} has {gigabytes(present)}, more than the {gigabytes(size_bytes)} that are asked for; a "
            "disk only grows"
        )


# Devices of images on a NAS that follow a machine to this host: placeholders until image storage maps the images.
#
# QEMU opens a placeholder when the machine arrives, paused. Then image storage gives the same device its content.

_MAPPER = "/dev/mapper/"
_REMOVE_SECONDS = 10.0


def create_placeholders(host: Host, images: Iterable[DiskSize]) -> None:
    """The devices, whose I/O fails. StateError when this host has a device of an image already."""
    for image in images:
        name = _device_name(image.path)
        found = host.dm_devices().read(name)
        if found is not None and not isinstance(found.table, Placeholder):
            raise StateError(
                f"this host has a device {image.path} already, so its image may be mapped here: rocks list host "
                "storagemap"
            )
        if found is not None:
            host.dm_devices().ensure_gone(name, Deadline(_REMOVE_SECONDS))  # it may have another size
        host.dm_devices().ensure(name, Placeholder(image.size_bytes // BYTES_PER_SECTOR))


def remove_placeholders(host: Host, paths: Iterable[str]) -> None:
    """Remove those that image storage has given nothing. StateError for one that is open."""
    for name in (_device_name(path) for path in paths if path.startswith(_MAPPER)):
        found = host.dm_devices().read(name)
        if found is not None and isinstance(found.table, Placeholder):
            host.dm_devices().ensure_gone(name, Deadline(_REMOVE_SECONDS))


def check_have_content(host: Host, live: DomainDocument) -> None:
    """StateError for a domain that waits for an image: its first write would stop it."""
    for path in live.disks:
        if path.startswith(_MAPPER):
            found = host.dm_devices().read(_device_name(path))
            if found is not None and isinstance(found.table, Placeholder):
                raise StateError(
                    f"{live.name} waits on this host for its image {path}, which has not followed it yet: rocks move "
                    f"host vm {live.name} HOST live=yes, with this host's name, completes that; or, to end its guest: "
                    f'rocks stop host vm {live.name} force=yes reason="…"'
                )


def _device_name(path: str) -> str:
    folder, _, name = path.rpartition("/")
    if f"{folder}/" != _MAPPER:
        raise IncoherentError(f"{path[:80]!r} is no device of an image")
    return name
