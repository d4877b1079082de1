"""Block devices of guests: nothing that the host itself uses, under an identity that outlives a boot."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple, Optional

from rocks.core.errors import StateError
from rocks.core.files import text_if_readable
from rocks.machine.host.files.paths import check_path, opened_folder

_SYSFS = Path("/sys/dev/block")
_ZFS_LINKS = Path("/dev/zvol")
_UNSTABLE = "name="
_SERIALS = ("dm/uuid", "wwid", "device/wwid", "serial", "device/serial", "loop/backing_file", "dm/name")
_FLAGS = os.O_RDONLY | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BlockDevice(NamedTuple):
    """A block device: its number, its size, and its stable identity."""

    number: int
    size_bytes: int
    identity: str


def check_device(path: str, *, is_mapped: bool = False) -> BlockDevice:
    """The device, which nothing on the host uses. StateError otherwise, and when there is none.

    udev's names below /dev are symbolic links and are followed. The device of an image that image storage has mapped
    (`is_mapped`) is exempt: device-mapper may hold it for the guest.
    """
    real = os.path.realpath(check_path(path))
    try:
        status = Path(real).stat()
    except OSError:
        raise StateError(f"there is no block device {path} on this host") from None
    if not stat.S_ISBLK(status.st_mode):
        raise StateError(f"{path} is not a block device")
    number = status.st_rdev
    if is_mapped:
        return BlockDevice(number, 0, "")
    if not real.startswith("/dev/"):
        raise StateError(f"{path} leads to {real}, outside of /dev; give the name of the device in /dev")
    with opened_folder(str(Path(real).parent)):
        pass  # only root may change a name on the way
    holder = _holder(number)
    if holder:
        raise _in_use(path, f"{holder} is built on it")
    return BlockDevice(number, _size_of_free(path, real, number), identity_of(number))


def identity_of(number: int) -> str:
    """A text that names the same device after a boot: UUID, WWID, serial number or ZFS volume, with the partition.

    A device that has none of them gets its name, which another device may have after a boot (`check_identity`).
    """
    folder = _folder(number)
    partition = text_if_readable(folder / "partition")
    base = folder.resolve().parent if partition else folder
    for name in _SERIALS:
        value = text_if_readable(base / name)
        if value:
            return f"{name}={value}" + (f",partition={partition}" if partition else "")
    name = folder.resolve().name
    volume = _zfs_volume(name)
    return f"zvol={volume}" if volume else f"{_UNSTABLE}{name}"


def check_identity(device: BlockDevice, path: str) -> None:
    """StateError for a device that may be another one after a boot: no record can say whose it is."""
    if device.identity.startswith(_UNSTABLE):
        raise StateError(
            f"the block device {path} has no UUID, WWID or serial number, so another device may have its name after a "
            "boot; give it a serial number, or use a volume of LVM or ZFS, or an image file"
        )


def _zfs_volume(name: str) -> Optional[str]:
    """The volume of a device of ZFS, from udev's links, which have the names of volumes."""
    for link in sorted(_ZFS_LINKS.rglob("*")):
        if os.path.realpath(link) == f"/dev/{name}":
            return str(link.relative_to(_ZFS_LINKS))
    return None


def _size_of_free(path: str, real: str, number: int) -> int:
    """The size. The kernel opens a device exclusively only if nothing has claimed it: mounts, swap, md, LVM, ZFS."""
    try:
        descriptor = os.open(real, _FLAGS)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _in_use(
                path, "it is mounted, used as swap, or part of LVM, md, device-mapper or ZFS"
            ) from None
        raise StateError(f"the block device {path} cannot be opened: {error.strerror}") from None
    try:
        if os.fstat(descriptor).st_rdev != number:
            raise StateError(f"{path} was replaced while it was opened; try again")
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _in_use(path: str, why: str) -> StateError:
    return StateError(f"the host itself uses the block device {path}: {why}; give the machine another disk")


def _holder(number: int) -> Optional[str]:
    """A device built on this one or on a partition of it."""
    folder = _folder(number)
    names = [entry.name for entry in folder.glob("holders/*")]
    names += [entry.name for entry in folder.glob("*/holders/*")]
    return sorted(names)[0] if names else None


def _folder(number: int) -> Path:
    return _SYSFS / f"{os.major(number)}:{os.minor(number)}"
