"""Files in the first partition of a raw disk with ext2, ext3 or ext4, by debugfs: nothing is mounted or run."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import ToolError
from rocks.core.process import run

START_BYTES = 34 * 512
"""What `first_partition` reads: a table of partitions of either kind."""
_SECTOR = 512
_LVM_TYPES = (0x8E, 0xFD)
_GPT_LVM, _GPT_RAID = (
    bytes.fromhex("79d3d6e607f5c244a23c238f2a3df928"),
    bytes.fromhex("0f889da1fc053b4da006743f0f84911e"),
)
_EXT_MAGIC = b"\x53\xef"
_SECONDS = 60.0
_BOUNDS = (f"--as={1 << 29}", "--cpu=20", "--core=0")
_MAX_OUTPUT_BYTES = 1 << 24


class Partition(NamedTuple):
    """Where it begins on the disk; whether its type is that of LVM or RAID."""

    offset_bytes: int
    is_lvm_or_raid: bool


def root_of(image: Path) -> str | None:
    """The first partition, as debugfs takes it; None where it has no file system of ext2, ext3 or ext4."""
    with image.open("rb") as file:
        first = first_partition(file.read(START_BYTES))
        if first is None or first.offset_bytes >= image.stat().st_size:
            return None
        file.seek(first.offset_bytes)
        is_ext = file.read(2048)[1080:1082] == _EXT_MAGIC
    return f"{image}?offset={first.offset_bytes}" if is_ext else None


def _check_bound(output: bytes) -> None:
    """ToolError above what any folder of a system has: a hostile file system lists one without end."""
    if len(output) > _MAX_OUTPUT_BYTES:
        raise ToolError("debugfs prints a folder without end; the file system of the image is damaged")


def names_in(place: str, folder: str) -> set[str]:
    """Names in a folder of an ext file system, which `root_of` gives; none when the folder is not there."""
    listed = debugfs(place, "-R", f"ls -p {folder}")
    names = {line.split("/")[5] for line in listed.splitlines() if line.count("/") >= 6}
    return names - {".", "..", ""}


def debugfs(place: str, *arguments: str, max_bytes: int = 0) -> str:
    """What debugfs prints. It may write files of at most so many bytes.

    ToolError when it prints without end, or one of its bounds ends it.
    """
    program = ["prlimit", *_BOUNDS, f"--fsize={max_bytes}", "/usr/sbin/debugfs", *arguments, place]
    ended = run(program, deadline_seconds=_SECONDS, watch=_check_bound)
    _check_bound(ended.output)  # it may have ended before it was looked at
    if ended.exit_status < 0:
        raise ToolError(
            f"debugfs was ended by signal {-ended.exit_status}; the file system of the image is damaged"
        )
    return ended.text


def first_partition(start: bytes) -> Partition | None:
    """The first partition of a disk whose first 34 sectors are given, or all of a smaller one. Pure."""
    if start[510:512] != b"\x55\xaa":
        return None
    kind, first = start[450], struct.unpack_from("<I", start, 454)[0]
    if kind != 0xEE:
        return Partition(first * _SECTOR, kind in _LVM_TYPES) if kind and first else None
    if start[512:520] != b"EFI PART":
        return None
    entry = start[2 * _SECTOR : 2 * _SECTOR + 128].ljust(128, b"\0")
    first = struct.unpack_from("<Q", entry, 32)[0]
    return Partition(first * _SECTOR, entry[:16] in (_GPT_LVM, _GPT_RAID)) if first else None
