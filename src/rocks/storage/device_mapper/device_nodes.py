"""Paths, kernel nodes and numbers of block devices, and the nodes of devices in /dev/mapper.

The kernel creates only /dev/dm-N. udev creates the links in /dev/mapper (55-dm.rules of dmsetup 1.02.185, 10-dm.rules
elsewhere), but only at an event whose cookie has DM_UDEV_PRIMARY_SOURCE_FLAG.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import StateError

MAPPER = Path("/dev/mapper")

_UDEV = Path("/run/udev/control")
_UDEV_SECONDS = 10.0
_POLL_SECONDS = 0.01

# DM_UDEV_PRIMARY_SOURCE_FLAG: the event is genuine. DM_UDEV_DISABLE_{SUBSYSTEM,DISK,OTHER}_RULES_FLAG: no blkid, LVM or
# watch on a guest's disk; they would read the guest's data and open the device. The lower half is the key of a
# semaphore: with 0, `dmsetup udevcomplete` has no effect (libdevmapper.h; _udevcomplete in dmsetup.c).
COOKIE = (0x0040 | 0x0002 | 0x0004 | 0x0008) << 16


def device_number(path: str) -> str:
    """The `major:minor` of a block device; StateError when there is none at that path."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise StateError(f"this host has no device {path}: {error.strerror}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise StateError(f"{path} of this host is not a block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def node_of(number: str) -> str:
    """The kernel node of a `major:minor`; the number itself without a device."""
    try:
        return "/dev/" + Path(f"/sys/dev/block/{number}").resolve(strict=True).name.replace("!", "/")
    except OSError:
        return number


def length_sectors(number: str) -> int:
    """Length of a block device in sectors of 512 bytes, from sysfs: opening a zvol would cost a ZFS transaction."""
    return int(Path(f"/sys/dev/block/{number}/size").read_text("ascii"))


def ensure_node(name: str, number: str) -> None:
    """Wait for the link /dev/mapper/<name> of udev; create it without udev or at the deadline."""
    deadline = Deadline(_UDEV_SECONDS if _UDEV.exists() else 0)
    while _number_behind(name) != number:
        if deadline.passed():
            _create_link(name, number)
            return
        wait_seconds(_POLL_SECONDS)


def ensure_no_node(name: str) -> None:
    """Wait until udev removes /dev/mapper/<name>; remove it without udev or at the deadline."""
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


def _create_link(name: str, number: str) -> None:
    """Create the same link as udev."""
    node = Path(node_of(number))
    link, new = MAPPER / name, MAPPER / f".{name}.new"
    new.unlink(missing_ok=True)
    if node.exists():
        new.symlink_to(f"../{node.name}")
    else:  # without devtmpfs
        major, minor = (int(part) for part in number.split(":"))
        os.mknod(new, stat.S_IFBLK | 0o600, os.makedev(major, minor))
    new.replace(link)
