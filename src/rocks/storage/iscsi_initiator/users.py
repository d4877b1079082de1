"""Users of a disk: devices stacked on it, processes that opened it, the kernel."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import List, Mapping, Optional, Set, Tuple

from rocks.core.files import text_if_readable

_PROCESSES = Path("/proc")


def find_users(disk_folder: Path, may_open: bool) -> List[str]:
    """Descriptions of the users; empty when unused. `disk_folder` is below /sys/block.

    `may_open`: open the disk to detect other exclusive use by the kernel, such as swap space; this can block while the
    NAS is down.
    """
    numbers = _numbers(disk_folder)
    users = _holders(disk_folder) + _processes(numbers) + _mounts(numbers)
    if not users and may_open and _is_claimed(disk_folder.name):
        users.append("the kernel (mounted elsewhere, or as swap space)")
    return users


def find_used(disks: Mapping[str, Path]) -> Set[str]:
    """The names of the disks that have users, as `find_users` finds them without opening them; one look for all."""
    opened: Set[Optional[str]] = {number for number, _ in _mounted()}
    for process in _PROCESSES.iterdir() if disks else ():
        if process.name.isdigit():
            opened |= _open_devices(process)
    return {name for name, folder in disks.items() if _holders(folder) or _numbers(folder) & opened}


def _holders(disk_folder: Path) -> List[str]:
    """Devices stacked on the disk or its partitions; device-mapper devices by name."""
    found = []
    for holder in sorted(
        (*disk_folder.glob("holders/*"), *disk_folder.glob(f"{disk_folder.name}*/holders/*"))
    ):
        name = text_if_readable(holder / "dm/name")
        found.append(f"the device {name or holder.name}")
    return found


def _numbers(disk_folder: Path) -> Set[Optional[str]]:
    """`major:minor` of the disk and of its partitions."""
    places = (disk_folder / "dev", *disk_folder.glob(f"{disk_folder.name}*/dev"))
    return {text_if_readable(place) for place in places}


def _mounts(numbers: Set[Optional[str]]) -> List[str]:
    """Where the disk or a partition of it is mounted."""
    return [f"the mount at {place}" for number, place in _mounted() if number in numbers]


def _mounted() -> List[Tuple[str, str]]:
    """Device and place of each mount (proc(5): /proc/pid/mountinfo). Odd names of places may end a line."""
    lines = text_if_readable(_PROCESSES / "self/mountinfo").split("\n")
    return [(it[2], it[4]) for it in (line.split(" ") for line in lines) if len(it) > 4]


def _processes(numbers: Set[Optional[str]]) -> List[str]:
    """Processes that have opened the disk or a partition of it."""
    found = []
    for process in _PROCESSES.iterdir():
        if process.name.isdigit() and numbers & _open_devices(process):
            found.append(f"process {process.name} ({text_if_readable(process / 'comm')})")
    return sorted(found)


def _open_devices(process: Path) -> Set[Optional[str]]:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return set()
    return {_device_number(link) for link in links}


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
