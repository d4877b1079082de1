"""Requirements of the carrying machine, checked before the start; an error states the missing one and the fix."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rocks.core.errors import HostError, StateError, UserError

BUILD_BYTES = 7_000_000_000
"""Trees, workshop, their copy and the images, as measured, with a reserve."""

RUN_BYTES = 4_000_000_000
"""Disk space for the writes of three machines in a long test, and for their saved states."""

MEMORY_RESERVE_MB = 700
"""QEMU's own memory for three machines, the database, and the tests."""

_BYTES_PER_GB = 1000**3
_RUN_PROGRAMS = ("ip", "mount", "nsenter", "ssh", "unshare")
_BUILD_PROGRAMS = (
    *("apt-get", "chroot", "mke2fs", "mmdebstrap", "zstd"),
    *("dh", "dh_python3", "dpkg-buildpackage", "fakeroot"),
)
_ISO_PROGRAMS = ("apt-ftparchive", "createrepo_c", "xorriso")
_PROGRAM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_root_to_build() -> None:
    """UserError for users other than root: trees of Debian have many owners."""
    if os.geteuid() != 0:
        raise UserError(
            "the lab is not built yet, and building it needs root: run `make lab` once as root, or with sudo"
        )


def require_tun() -> None:
    """HostError unless this process may make taps."""
    device = Path("/dev/net/tun")
    if not device.exists():
        raise HostError(
            "there is no /dev/net/tun, so the machines get no network: run `modprobe tun` as root"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise HostError(
            "this user may not use /dev/net/tun: run `chmod 666 /dev/net/tun` as root, as is usual elsewhere"
        )
    try:
        device.open("rb").close()
    except OSError as error:
        raise HostError(
            f"/dev/net/tun does not work here ({error.strerror}): the kernel needs its module tun"
        ) from None


def require_free_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """StateError unless the file system of the folder, which need not exist yet, has the space."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < needed_bytes:
        raise StateError(
            f"{purpose} needs {needed_bytes / _BYTES_PER_GB:.0f} GB of disk space in {place}, and "
            f"{free_bytes / _BYTES_PER_GB:.1f} GB are free; remove files there"
        )


def require_memory(needed_mb: int) -> None:
    """StateError unless that much memory is available."""
    available_mb = read_available_mb(Path("/proc/meminfo").read_text(encoding="ascii"))
    if available_mb < needed_mb:
        raise StateError(
            f"the lab's machines need {needed_mb} MB of memory, and {available_mb} MB are available; end other programs"
        )


def read_available_mb(meminfo: str) -> int:
    """Memory that can be had without swapping, in MB, of the text of /proc/meminfo."""
    line = next(line for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024 // 1000**2


def require_writable(folder: Path) -> None:
    """UserError unless this user can make files in the folder, which need not exist yet."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        raise UserError(
            f"{place} belongs to another user: run `make lab` as its owner, or in a checkout of your own"
        )


def missing_programs(to_build: bool) -> list[str]:
    """Programs that the lab needs, to run or to be built besides, and this machine has not."""
    needed = (*_RUN_PROGRAMS, *_BUILD_PROGRAMS) if to_build else _RUN_PROGRAMS
    return [name for name in needed if shutil.which(name, path=_PROGRAM_FOLDERS) is None]


def missing_programs_for_isos(checkout: Path) -> list[str]:
    """Programs that reading rolls and building their distribution needs besides, `rocks` of the checkout among them."""
    missing = [name for name in _ISO_PROGRAMS if shutil.which(name, path=_PROGRAM_FOLDERS) is None]
    return missing if (checkout / ".state/venv/bin/python").exists() else [*missing, "rocks"]
