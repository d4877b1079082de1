"""Names of block devices: paths to kernel nodes and back, and the node of a mapping in /dev/mapper.

The kernel makes only /dev/dm-N. Names in /dev/mapper are udev's (55-dm.rules of dmsetup 1.02.185, 10-dm.rules
elsewhere), which links a device only at an event whose cookie says that the event comes from who made it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

from rocks.clock import Deadline, wait_seconds
from rocks.errors import StateError

MAPPER = Path("/dev/mapper")

_UDEV = Path("/run/udev/control")
_UDEV_SECONDS = 10.0
_POLL_SECONDS = 0.01

# DM_UDEV_PRIMARY_SOURCE_FLAG: the event is genuine. DM_UDEV_DISABLE_{SUBSYSTEM,DISK,OTHER}_RULES_FLAG: no blkid, LVM or
# watch on what is a guest's disk; they would read what the guest wrote, and hold the device open. The lower half is a
# semaphore's number: with 0 there, `dmsetup udevcomplete` wakes nobody (libdevmapper.h; _udevcomplete in dmsetup.c).
COOKIE = (0x0040 | 0x0002 | 0x0004 | 0x0008) << 16


def kernel_node(path: str) -> str:
    """The kernel's node of a block device, for example `/dev/zd16` of `/dev/zvol/tank/a-vol`.

    StateError when there is no such block device.
    """
    return node_of(device_number(path))


def device_number(path: str) -> str:
    """The `major:minor` of a block device; StateError when there is none at that path."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise StateError(f"this host has no device {path}: {error.strerror}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise StateError(f"{path} of this host is no block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def node_of(number: str) -> str:
    """The kernel's node of a `major:minor`; the number itself when no device has it any more."""
    try:
        return "/dev/" + Path(f"/sys/dev/block/{number}").resolve(strict=True).name.replace("!", "/")
    except OSError:
        return number


def length_sectors(number: str) -> int:
    """How long a block device is, in sectors of 512 bytes; opening a volume to ask would cost a transaction of ZFS."""
    return int(Path(f"/sys/dev/block/{number}/size").read_text("ascii"))


def ensure_node(name: str, number: str) -> None:
    """Have /dev/mapper/<name>: the link that udev makes, or the same made here where no udev runs or none comes."""
    deadline = Deadline(_UDEV_SECONDS if _UDEV.exists() else 0)
    while _number_behind(name) != number:
        if deadline.passed():
            _make(name, number)
            return
        wait_seconds(_POLL_SECONDS)


def ensure_no_node(name: str) -> None:
    """Have no /dev/mapper/<name> that leads nowhere: udev takes it away, or it is taken away here."""
    deadline = Deadline(_UDEV_SECONDS if _UDEV.exists() else 0)
    link = MAPPER / name
    while os.path.lexists(link):
        if deadline.passed():
            link.unlink(missing_ok=True)
            return
        wait_seconds(_POLL_SECONDS)


def _number_behind(name: str) -> Optional[str]:
    try:
        return device_number(str(MAPPER / name))
    except StateError:
        return None


def _make(name: str, number: str) -> None:
    """Exactly udev's link, so that it does not matter who was first."""
    node = Path(node_of(number))
    link, new = MAPPER / name, MAPPER / f".{name}.new"
    new.unlink(missing_ok=True)
    if node.exists():
        new.symlink_to(f"../{node.name}")
    else:  # without devtmpfs
        major, minor = (int(part) for part in number.split(":"))
        os.mknod(new, stat.S_IFBLK | 0o600, os.makedev(major, minor))
    new.replace(link)
