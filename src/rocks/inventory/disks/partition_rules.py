"""Partitions of a host's disks: their record and checks, what lsblk prints, and the largest one. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.values import check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


LONGEST = 128
"""Characters of each column."""
_MAX_PARTITIONS = 1024
_MIB = 1024 * 1024
_HEAD = "sectors"
LIST_COMMAND = (
    "lsblk --json --bytes --paths --output KNAME,TYPE,MOUNTPOINT,SIZE,FSTYPE,PARTTYPE,PARTFLAGS"
    f" && echo {_HEAD} && grep -H . /sys/class/block/*/start 2>/dev/null || true"
)
"""A shell's command that prints what `read_block_devices` reads; util-linux 2.32 (RHEL 8) knows the columns."""


class DiskPartition(NamedTuple):
    """A partition, each field a text or ''.

    `start` is in sectors of 512 bytes, `size` a number with a unit such as `102400MB`, `id` the type in the partition
    table; `format_flags` are those with which an installer made the file system.
    """

    device: str = ""
    mount_point: str = ""
    start: str = ""
    size: str = ""
    id: str = ""
    fs_type: str = ""
    flags: str = ""
    format_flags: str = ""


def check_partition(partition: DiskPartition) -> None:
    """UserError unless the partition has a device or a mount point, and each field fits its column."""
    if not partition.device and not partition.mount_point:
        raise UserError("must supply device or mountpoint")
    for name, value in partition._asdict().items():
        check_text(name.replace("_", ""), value, LONGEST)


def read_block_devices(text: str) -> list[DiskPartition]:
    """The partitions and mounted devices in the output of `LIST_COMMAND`. StateError for any other text."""
    document, _, sectors = text.partition(f"\n{_HEAD}\n")
    try:
        devices = list(_flat(json.loads(document)["blockdevices"]))
        found = [
            one for one in (_partition(device, _starts(sectors)) for device in devices) if one is not None
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateError(
            "lsblk printed no list of block devices; is util-linux 2.27 or later installed?"
        ) from None
    if len(found) > _MAX_PARTITIONS:
        raise StateError(f"the host has {len(found)} partitions, more than {_MAX_PARTITIONS}")
    return list(dict.fromkeys(found))


def _flat(devices: list[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    for device in devices:
        yield device
        children = device.get("children")
        if isinstance(children, list):
            yield from _flat(children)


def _partition(device: Mapping[str, object], starts: Mapping[str, str]) -> DiskPartition | None:
    mount_point = _text(device.get("mountpoint"))
    if device.get("type") != "part" and not mount_point:
        return None
    name = _text(device["kname"]).removeprefix("/dev/")
    size = device.get("size")
    return DiskPartition(
        name,
        "swap" if mount_point == "[SWAP]" else mount_point,
        starts.get(name, ""),
        f"{int(size) // _MIB}MB" if isinstance(size, int | str) else "",
        _text(device.get("parttype")).removeprefix("0x"),
        _text(device.get("fstype")),
        _text(device.get("partflags")),
    )


def _starts(lines: str) -> dict[str, str]:
    """Device → first sector, from lines of /sys/class/block/DEVICE/start:NUMBER."""
    found = {}
    for line in lines.splitlines():
        path, _, number = line.rpartition(":")
        if number.isascii() and number.isdigit():
            found[path.rpartition("/start")[0].rpartition("/")[2]] = number[:LONGEST]
    return found


def _text(value: object) -> str:
    """A value of the host's, bounded and without control characters."""
    if value is None:
        return ""
    return "".join(character for character in str(value) if character.isprintable())[:LONGEST]


# The largest partition of a host, for disk images. Pure.


_UNITS = ("KB", "MB", "GB", "TB", "PB")
_SIZE = re.compile(r"\s*([0-9.]+)\s*([KMGTP]B)\s*", re.IGNORECASE)


def largest_partition(partitions: Iterable[tuple[str | None, str | None]]) -> str | None:
    """The mount point of the largest of (mount point, size text such as `102400MB`); None when none is usable.

    A mount point must begin with `/`. Sizes compare by unit first, then by number, as installed hosts report
    them; an unreadable size counts as the smallest.
    """
    usable = [(_weight(size or ""), mount) for mount, size in partitions if mount and mount.startswith("/")]
    return max(usable)[1] if usable else None


def _weight(size: str) -> tuple[int, float]:
    match = _SIZE.fullmatch(size)
    if match is None:
        return (-1, 0.0)
    try:
        return (_UNITS.index(match.group(2).upper()), float(match.group(1)))
    except ValueError:
        return (-1, 0.0)
