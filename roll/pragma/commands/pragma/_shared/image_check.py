"""Compares an image with PRAGMA's rules. It is read as a file: nothing of it is mounted or run."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .ext_files import START_BYTES, first_partition, names_in, root_of

if TYPE_CHECKING:
    from .vc_in import Node

MET, BROKEN, UNKNOWN = "met", "broken", "unknown"
_RAID_MAGIC = struct.pack("<I", 0xA92B4EFC)
_AGENT_FOLDERS = ("/etc/init.d", "/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
PROGRAM = "pragma-vc-out"
"""In /etc: copies vc-out.xml to /root in an image without cloud-init (`preparation`)."""
_AGENTS = ("vc-out-parser", "dynip")


class Finding(NamedTuple):
    """A rule, whether it is met, and what was seen."""

    rule: str
    state: str
    seen: str


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
        start = file.read(START_BYTES)
        size = image.stat().st_size
        raw = Finding("raw disk", MET, f"{size} bytes")
        first = first_partition(start)
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
