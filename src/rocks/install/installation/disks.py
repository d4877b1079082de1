"""Which disk a host is installed on, and its partitions: the attributes `install_disk` and `install_partitions`. Pure.

The installer (`roll/installer`) checks all of it again on the machine, where the disks are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable

MAX_PARTITIONS = 16
REST = "rest"
_MAX_DISKS = 2
_MAX_GB = 900_000
_BYTES_PER_GB = 1000**3
_BYTES_PER_MIB = 1024**2

_SERIAL = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PATH = re.compile(r"/dev/[a-z0-9]{1,16}|pci-[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9]{0,14}", re.ASCII)
_MOUNT_POINT = re.compile(r"/(?:[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)?", re.ASCII)
_RESERVED_NAMES = ("bios", "efi")
_RESERVED_PLACES = ("/boot/efi", "/dev", "/proc", "/run", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib")


class DiskChoice(NamedTuple):
    """One disk: kind `smallest`, `serial` or `path`, and the value of the last two, else ''."""

    kind: str
    value: str


class Partition(NamedTuple):
    """A partition: size in MiB (None: what is left), file system `ext4`, `swap` or `none`, mount point of ext4 or ''.

    The installer leaves the content of a partition `none` alone: a ZFS pool may be there.
    """

    name: str
    size_mib: int | None
    file_system: str
    mount_point: str


def read_disks(text: str) -> tuple[DiskChoice, ...]:
    """One disk, or the two of a RAID 1: `smallest`, `serial=X`, `path=/dev/X`, `path=pci-0000:00:04.0`, with commas.

    UserError for anything else.
    """
    choices = tuple(_read_disk(part.strip()) for part in text.split(","))
    if len(choices) > _MAX_DISKS:
        raise UserError(
            f"{len(choices)} disks are given; one is installed on, or two as a RAID 1: smallest,smallest"
        )
    if len(choices) == _MAX_DISKS and choices[0] == choices[1] and choices[0].kind != "smallest":
        raise UserError(f'the same disk "{choices[0].kind}={choices[0].value}" is given twice')
    return choices


def read_partitions(text: str) -> tuple[Partition, ...]:
    """Partitions, separated by blanks: `NAME:GB:ext4:/PATH`, `NAME:GB:swap`, `NAME:GB:none`; GB are 1000³ bytes.

    The last one's size may be `rest`. Exactly one is mounted at /. UserError for anything else.
    """
    partitions = tuple(_read_partition(part) for part in text.split())
    if len(partitions) > MAX_PARTITIONS:
        raise UserError(f"{len(partitions)} partitions are given; at most {MAX_PARTITIONS} are made")
    _check_unique("the name", [partition.name for partition in partitions])
    _check_unique("the mount point", [part.mount_point for part in partitions if part.mount_point])
    if not any(partition.mount_point == "/" for partition in partitions):
        raise UserError("no partition has the mount point /, as in root:rest:ext4:/")
    early = next((partition for partition in partitions[:-1] if partition.size_mib is None), None)
    if early is not None:
        raise UserError(f"the partition {early.name} has the size {REST} and is not the last one")
    return partitions


def _read_disk(text: str) -> DiskChoice:
    kind, _, value = text.partition("=")
    if text == "smallest":
        return DiskChoice("smallest", "")
    if kind == "serial" and _SERIAL.fullmatch(value):
        return DiskChoice(kind, value)
    if kind == "path" and _PATH.fullmatch(value):
        return DiskChoice(kind, value)
    raise UserError(
        f'the disk "{printable(text)}" is not valid: give smallest, serial=X, path=/dev/X or path=pci-0000:00:04.0'
    )


def _read_partition(text: str) -> Partition:
    fields = text.split(":")
    if len(fields) not in (3, 4):
        raise UserError(f'the partition "{printable(text)}" is not NAME:SIZE:FILE-SYSTEM[:MOUNT-POINT]')
    name, size, file_system = fields[:3]
    mount_point = fields[3] if len(fields) == 4 else ""
    if not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
        raise UserError(
            f'the partition name "{printable(name)}" is not valid: it must be a small letter, then up to 14 small '
            f"letters and digits, and not {' or '.join(_RESERVED_NAMES)}"
        )
    _check_mount_point(name, file_system, mount_point)
    return Partition(name, _size_mib(name, size), file_system, mount_point)


def _check_mount_point(name: str, file_system: str, mount_point: str) -> None:
    if file_system not in ("ext4", "swap", "none"):
        raise UserError(
            f'the partition {name} has the file system "{printable(file_system)}"; ext4, swap and none are known'
        )
    if file_system != "ext4":
        if mount_point:
            raise UserError(f"the partition {name} has a mount point; with {file_system} it cannot have one")
        return
    parts = mount_point.split("/")
    if not _MOUNT_POINT.fullmatch(mount_point) or "." in parts or ".." in parts:
        raise UserError(
            f'the partition {name} has the mount point "{printable(mount_point)}", which is not an absolute path of '
            "letters, digits and . _ -"
        )
    reserved = next(
        (p for p in _RESERVED_PLACES if mount_point == p or mount_point.startswith(f"{p}/")), None
    )
    if reserved:
        raise UserError(
            f"the partition {name} has the mount point {mount_point}; what is below {reserved} belongs to the system"
        )


def _size_mib(name: str, text: str) -> int | None:
    if text == REST:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= _MAX_GB:
        return int(text) * _BYTES_PER_GB // _BYTES_PER_MIB
    raise UserError(
        f'the partition {name} has the size "{printable(text)}"; give GB from 1 to {_MAX_GB}, or {REST}'
    )


def _check_unique(what: str, values: list[str]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise UserError(f"two partitions have {what} {twice}")
