"""Who uses a disk of a session: devices above it, programs that have it open, the kernel itself."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import List, Optional, Set

_PROCESSES = Path("/proc")


def find_users(disk_folder: Path, may_open: bool) -> List[str]:
    """In words, empty when there is nobody. `disk_folder` is below /sys/block.

    `may_open`: the disk may be opened to learn whether the kernel has it for itself, mounted for example; that could
    wait for ever while its NAS is away.
    """
    users = _holders(disk_folder) + _programs(disk_folder)
    if not users and may_open and _is_claimed(disk_folder.name):
        users.append("the kernel (mounted, or as swap space)")
    return users


def _holders(disk_folder: Path) -> List[str]:
    """Devices above the disk or a partition of it; those of device-mapper by their names."""
    found = []
    for holder in sorted(
        (*disk_folder.glob("holders/*"), *disk_folder.glob(f"{disk_folder.name}*/holders/*"))
    ):
        name = _read(holder / "dm/name")
        found.append(f"the device {name or holder.name}")
    return found


def _programs(disk_folder: Path) -> List[str]:
    """Programs that have the disk or a partition of it open."""
    numbers = {
        _read(disk_folder / "dev"),
        *(_read(part) for part in disk_folder.glob(f"{disk_folder.name}*/dev")),
    }
    found = []
    for process in _PROCESSES.iterdir():
        if process.name.isdigit() and _has_open(process, numbers):
            found.append(f"process {process.name} ({_read(process / 'comm')})")
    return sorted(found)


def _has_open(process: Path, numbers: Set[str]) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return False
    return any(_device_number(link) in numbers for link in links)


def _device_number(link: Path) -> Optional[str]:
    """Of an open block device. Only what is called /dev/… is looked at: a file of a lost server would be waited for."""
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


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
