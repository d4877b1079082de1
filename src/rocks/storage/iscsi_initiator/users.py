"""Users of a disk: devices stacked on it, processes that opened it, the kernel."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import List, Optional, Set

from rocks.core.files import text_if_readable

_PROCESSES = Path("/proc")


def find_users(disk_folder: Path, may_open: bool) -> List[str]:
    """Descriptions of the users; empty when unused. `disk_folder` is below /sys/block.

    `may_open`: open the disk to detect exclusive use by the kernel, such as a mount; this can block while the NAS is
    down.
    """
    users = _holders(disk_folder) + _processes(disk_folder)
    if not users and may_open and _is_claimed(disk_folder.name):
        users.append("the kernel (mounted, or as swap space)")
    return users


def _holders(disk_folder: Path) -> List[str]:
    """Devices stacked on the disk or its partitions; device-mapper devices by name."""
    found = []
    for holder in sorted(
        (*disk_folder.glob("holders/*"), *disk_folder.glob(f"{disk_folder.name}*/holders/*"))
    ):
        name = text_if_readable(holder / "dm/name")
        found.append(f"the device {name or holder.name}")
    return found


def _processes(disk_folder: Path) -> List[str]:
    """Processes that have opened the disk or a partition of it."""
    numbers = {
        text_if_readable(disk_folder / "dev"),
        *(text_if_readable(part) for part in disk_folder.glob(f"{disk_folder.name}*/dev")),
    }
    found = []
    for process in _PROCESSES.iterdir():
        if process.name.isdigit() and _has_open(process, numbers):
            found.append(f"process {process.name} ({text_if_readable(process / 'comm')})")
    return sorted(found)


def _has_open(process: Path, numbers: Set[str]) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return False
    return any(_device_number(link) in numbers for link in links)


def _device_number(link: Path) -> Optional[str]:
    """`major:minor` of an open block device. Only paths below /dev: stat of a file on a lost server would block."""
    try:
        if not str(link.readlink()).startswith("/dev/"):
            return None
        status = link.stat()
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _is_claimed(disk: str) -> bool:
    try:
        descriptor = os.open(f"/dev/{disk}", os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK)
    except OSError as error:
        return error.errno == errno.EBUSY
    os.close(descriptor)
    return False
