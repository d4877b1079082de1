"""Who uses an image: a domain that is defined with it, or a process that has it open."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from rocks.core.errors import StateError
from rocks.machine.host.libvirt.driver import DomainDriver

_PROCESSES = Path("/proc")
ImageKey = Tuple[int, int]
"""Device and inode of a file; the number of a block device and -1."""


def key_of(status: os.stat_result) -> ImageKey:
    """The key under which every name of the image is the same."""
    return (status.st_rdev, -1) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)


def users_of_images(domains: DomainDriver) -> Dict[ImageKey, str]:
    """Image → its user, for all domains, running or not, and all processes but this one. ToolError."""
    found: Dict[ImageKey, str] = dict(_open_files())
    for fact in domains.facts():
        try:
            paths = domains.document(fact.name).disks_and_cds
        except StateError:
            continue  # the domain has ended since
        found.update(dict.fromkeys(_keys(paths), fact.name))
    return found


def _keys(paths: Iterable[str]) -> List[ImageKey]:
    keys = []
    for path in paths:
        try:
            keys.append(key_of(Path(path).stat()))
        except OSError:
            continue  # the disk is gone
    return keys


def _open_files() -> List[Tuple[ImageKey, str]]:
    found = []
    for process in _PROCESSES.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        statuses = _statuses(process / "fd")
        kinds = [
            status for status in statuses if stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
        ]
        found += [(key_of(status), f"process {process.name}") for status in kinds]
    return found


def _statuses(folder: Path) -> List[os.stat_result]:
    """Of a process's open files. One that is closed meanwhile does not hide the others; they go when it ends."""
    found: List[os.stat_result] = []
    try:
        entries = list(folder.iterdir())
    except OSError:
        return found
    for entry in entries:
        with contextlib.suppress(OSError):
            found.append(entry.stat())
    return found
