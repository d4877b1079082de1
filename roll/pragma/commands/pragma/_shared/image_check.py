"""Compares an image with PRAGMA's rules. It is read as a file: nothing of it is mounted or run."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from .vc_in import Node

MET, BROKEN, UNKNOWN = "met", "broken", "unknown"
_SECTOR = 512
_LVM_TYPES = (0x8E, 0xFD)
_GPT_LVM, _GPT_RAID = (
    bytes.fromhex("79d3d6e607f5c244a23c238f2a3df928"),
    bytes.fromhex("0f889da1fc053b4da006743f0f84911e"),
)
_EXT_MAGIC = b"\x53\xef"
_RAID_MAGIC = struct.pack("<I", 0xA92B4EFC)
_SECONDS = 60.0
_BOUNDS = (f"--as={1 << 29}", "--cpu=20", "--core=0")
_MAX_OUTPUT_BYTES = 1 << 24
_AGENT_FOLDERS = ("/etc/init.d", "/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
PROGRAM = "pragma-vc-out"
"""In /etc: copies vc-out.xml to /root in an image without cloud-init (`preparation`)."""
_AGENTS = ("vc-out-parser", "dynip")


class Finding(NamedTuple):
    """A rule, whether it is met, and what was seen."""

    rule: str
    state: str
    seen: str


class _Partition(NamedTuple):
    offset_bytes: int
    is_lvm_or_raid: bool


def check_interfaces(node: Node, is_frontend: bool) -> Finding:
    """A frontend has two interfaces, of which the first is private; a compute has one. Pure."""
    needed = 2 if is_frontend else 1
    has = node.interface_count
    return Finding(
        "interfaces", MET if has == needed else BROKEN, f"vc-in.xml has {has}, and it needs {needed}"
    )


def check_image(image: Path) -> list[Finding]:
    """The rules about the disk. HostError or ToolError when the file or debugfs cannot be used."""
    with image.open("rb") as file:
        start = file.read(34 * _SECTOR)
        size = image.stat().st_size
        raw = Finding("raw disk", MET, f"{size} bytes")
        first = _first_partition(start)
        if first is None or first.offset_bytes >= size:
            return [
                raw,
                Finding(
                    "first partition",
                    BROKEN,
                    "the disk has no partition table, or a first partition that is not on it",
                ),
            ]
        file.seek(first.offset_bytes)
        head = file.read(5 * 4096)
    is_raid = _RAID_MAGIC in (head[:4], head[4096:4100])
    if first.is_lvm_or_raid or is_raid or b"LABELONE" in head[:2048]:
        return [raw, Finding("no LVM or RAID", BROKEN, "the first partition is a part of LVM or RAID")]
    found = [raw, Finding("no LVM or RAID", MET, "the first partition is a file system of its own")]
    place = root_of(image)
    if place is None:
        seen = "its file system is not ext2, ext3 or ext4, and cannot be looked into"
        return [*found, Finding("first partition", UNKNOWN, seen), Finding("agent", UNKNOWN, seen)]
    if not names_in(place, "/etc"):
        return [
            *found,
            Finding("first partition", BROKEN, "it has no folder /etc: it is not the root file system"),
        ]
    return [*found, Finding("first partition", MET, "it has /etc"), _agent(place)]


def root_of(image: Path) -> str | None:
    """The first partition, as debugfs takes it; None where it has no file system of ext2, ext3 or ext4."""
    with image.open("rb") as file:
        first = _first_partition(file.read(34 * _SECTOR))
        file.seek(first.offset_bytes if first else 0)
        is_ext = file.read(2048)[1080:1082] == _EXT_MAGIC
    return f"{image}?offset={first.offset_bytes}" if first and is_ext else None


def has_cloud_init(place: str) -> bool:
    """Whether the root file system has the program cloud-init."""
    return "cloud-init" in names_in(place, "/usr/bin")


def _agent(place: str) -> Finding:
    if has_cloud_init(place):
        return Finding("agent", MET, "cloud-init")
    there = {name for folder in _AGENT_FOLDERS for name in names_in(place, folder)}
    for agent in _AGENTS:
        if any(name.startswith(agent) for name in there):
            is_prepared = PROGRAM in names_in(place, "/etc")
            copied = "vc-out.xml is copied to /root" if is_prepared else "nothing copies vc-out.xml to /root"
            return Finding("agent", MET, f"{agent}; {copied}")
    return Finding("agent", BROKEN, "neither cloud-init nor vc-out-parser nor dynip")


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
    """What debugfs prints. It may write files of at most so many bytes. ToolError when it prints without end."""
    program = ["prlimit", *_BOUNDS, f"--fsize={max_bytes}", "/usr/sbin/debugfs", *arguments, place]
    ended = run(program, deadline_seconds=_SECONDS, watch=_check_bound)
    _check_bound(ended.output)  # it may have ended before it was looked at
    return ended.text


def _first_partition(start: bytes) -> _Partition | None:
    """The first partition of a disk whose first 34 sectors are given. Pure."""
    if start[510:512] != b"\x55\xaa":
        return None
    kind, first = start[450], struct.unpack_from("<I", start, 454)[0]
    if kind != 0xEE:
        return _Partition(first * _SECTOR, kind in _LVM_TYPES) if kind and first else None
    if start[512:520] != b"EFI PART":
        return None
    entry = start[2 * _SECTOR : 2 * _SECTOR + 128]
    first = struct.unpack_from("<Q", entry, 32)[0]
    return _Partition(first * _SECTOR, entry[:16] in (_GPT_LVM, _GPT_RAID)) if first else None
