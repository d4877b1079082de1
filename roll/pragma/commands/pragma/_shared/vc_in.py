"""Reads vc-in.xml, which describes the image of a virtual cluster: files or volumes, and how they are assembled.

Source: the standard of PRAGMA's phase 4 and of the testbed of 2016. Both generations are read; names, bridges and MAC
addresses of the libvirt domains are templates, and are not read.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Literal

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.terminal import one_line

from .documents import read_document

_TYPES = ("raw", "gzip", "zstd", "qcow2", "splited", "splited_gzip", "splited_zstd")

MAX_BYTES = 16 * 1024
"""The largest vc-in.xml; published ones have a few thousand bytes. The schema takes quadratic memory of attributes."""

_SCHEMA = Path(__file__).with_name("vc-in.rng")
_MAX_WAIT_SECONDS = 86400
_LONGEST_WAIT_SECONDS = 1800
"""A boot waits no longer, whatever is stated: one of a reservation has an hour."""
_SSH_SECONDS = 600
_UNIT_BYTES = {
    "b": 1, "bytes": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000**2, "m": 1024**2, "mib": 1024**2,
    "gb": 1000**3, "g": 1024**3, "gib": 1024**3,
}  # fmt: skip
"""Units of a libvirt domain's memory; K is the default."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_DISK = re.compile(r"-vol[0-9]*(?:-|\Z)")
"""In the name of a volume that is, or was, the disk of a machine, or of what a restore has left of one."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileDisk:
    """An image file. `parts` are what it is assembled from, in their order; paths are relative to vc-in.xml.

    `checksums` has the SHA-256 of each part, in hexadecimal, or nothing.
    """

    file: str
    parts: tuple[str, ...] = ()
    checksums: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that are read."""
        return self.parts or (self.file,)


@dataclass(frozen=True)
class VolumeDisk:
    """A ZFS volume of a NAS."""

    nas: str
    pool: str
    volume: str


@dataclass(frozen=True)
class Node:
    """A frontend or compute. `device` and `bus` are those of its disk in the guest (vda on virtio).

    `cpus` is what a frontend in a cloud has at least; on this site a frontend has one CPU.
    """

    disk: FileDisk | VolumeDisk
    device: str = "vda"
    bus: str = "virtio"
    memory_mb: int | None = None
    cpus: int | None = None
    interface_count: int = 0


@dataclass(frozen=True)
class BootWait:
    """What computes wait for after the start of the frontend: so many seconds, or SSH for at most so many."""

    kind: Literal["clock", "ssh"]
    seconds: int


@dataclass(frozen=True)
class VcIn:
    """The description of a cluster image; `compute` is None for an image that is a frontend alone.

    `digest` is that of the document (`digest_of`).
    """

    frontend: Node
    compute: Node | None
    wait: BootWait | None
    digest: str


class DescriptionError(UserError):
    """The description cannot be used as it is."""

    exit_status = 2


def digest_of(data: bytes) -> str:
    """The SHA-256 of a document, in hexadecimal. Pure."""
    return hashlib.sha256(data).hexdigest()


def read_vc_in(data: bytes, what: str) -> VcIn:
    """The description. `what` names the file in errors. DescriptionError, with the line, for another document."""
    try:
        root = read_document(data, what, MAX_BYTES)
    except UserError as error:
        raise DescriptionError(str(error)) from None
    schema = etree.RelaxNG(etree.parse(str(_SCHEMA)))
    if not schema.validate(root):
        raise DescriptionError(f"{what} is not a vc-in.xml: {_first_fault(root, schema)}")
    try:
        return _read(root, digest_of(data))
    except UserError as error:
        raise DescriptionError(f"{what}: {error}") from None


def check_volumes(described: VcIn) -> None:
    """StateError for a volume that may be the disk of a machine: its owner has not given it to the image's author.

    The name decides: disks of machines that were removed are still on the NAS, and so is what was before a restore.
    """
    for node in (described.frontend, described.compute):
        if node is not None and isinstance(node.disk, VolumeDisk) and _DISK.search(node.disk.volume):
            nas, pool, volume = node.disk.nas, node.disk.pool, node.disk.volume
            raise StateError(
                f"the volume {volume} has the name of a machine's disk, which a description of a web server does not "
                f"get; give it a copy of another name: rocks add host storageimg {nas} {pool} NAME origin={volume}"
            )


def _first_fault(root: etree._Element, schema: etree.RelaxNG) -> str:
    """What is wrong. libxml2 describes a fault in an interleave by its end, so the usual faults are named here."""
    if root.tag != "vc":
        return f"its root element is {one_line(str(root.tag))[:80]}, not vc"
    for name in ("virtualization", "frontend", "compute", "driver", "networks", "files"):
        found = len(root.findall(name))
        if found > 1 or (not found and name in ("virtualization", "frontend")):
            return f"it has {found} elements {name}, not one"
    for name, expected in (("engine", "kvm"), ("type", "hvm"), ("arch", "x86_64")):
        value = root.find("virtualization").get(name)  # type: ignore[union-attr]
        if value != expected:
            return f"virtualization has {name}={one_line(str(value))[:80]}, and only {expected} runs here"
    for node in [*root.findall("frontend"), *root.findall("compute")]:
        if len(node.findall("domain")) != 1:
            return f"{node.tag} has {len(node.findall('domain'))} elements domain, not one (line {node.sourceline})"
    for file in root.iter("file"):
        if file.getparent().tag in ("files", "frontend", "compute"):  # type: ignore[union-attr]
            if file.get("type") not in _TYPES:
                return (
                    f"the type of a file is {', '.join(_TYPES[:-1])} or {_TYPES[-1]} (line {file.sourceline})"
                )
            if file.find("part") is None:
                return f"a file has no part (line {file.sourceline})"
    error = schema.error_log[0] if len(schema.error_log) else None
    return (
        "it does not match the schema" if error is None else f"{one_line(error.message)} (line {error.line})"
    )


def _read(root: etree._Element, digest: str) -> VcIn:
    frontend = _node(root, root.find("frontend"), None)
    found = root.find("compute")
    compute = None if found is None else _node(root, found, frontend)
    if compute is not None and type(compute.disk) is not type(frontend.disk):
        raise UserError(
            "one of frontend and compute has a disk of type file, and the other one of type volume; give both the same"
        )
    return VcIn(frontend, compute, None if found is None else _wait(found), digest)


def _node(root: etree._Element, node: etree._Element | None, frontend: Node | None) -> Node:
    assert node is not None  # the schema
    domain = node.find("domain")
    assert domain is not None
    disks = [disk for disk in domain.findall("devices/disk") if disk.get("device", "disk") == "disk"]
    interface_count = len(domain.findall("devices/interface"))
    memory, cpus = _memory_mb(domain), _cpus(domain)
    if not disks or disks[0].find("source") is None:
        if frontend is None or disks:
            raise UserError(f"the domain of {node.tag} has no disk with a source (line {domain.sourceline})")
        return Node(frontend.disk, frontend.device, frontend.bus, memory, cpus, interface_count)
    disk = disks[0]
    target = disk.find("target")
    return Node(
        _disk(root, node, disk),
        "vda" if target is None else target.get("dev", "vda"),
        "virtio" if target is None else target.get("bus", "virtio"),
        memory,
        cpus,
        interface_count,
    )


def _disk(root: etree._Element, node: etree._Element, disk: etree._Element) -> FileDisk | VolumeDisk:
    source = disk.find("source")
    assert source is not None
    kind = disk.get("type")
    if kind == "volume":
        return _volume(node, source)
    if kind != "file":
        raise UserError(
            f"the disk of {node.tag} is of type {one_line(str(kind))[:80]}, and only file and volume are known"
        )
    file = _path(source.get("file", ""), f"the disk of {node.tag}")
    found = [*node.findall("file"), *node.findall("files/file")]
    named = [one for one in root.findall("files/file") if str(PurePosixPath(one.get("filename", ""))) == file]
    if len(found) + len(named) > 1:
        raise UserError(f"{file} is assembled twice (line {[*found, *named][1].sourceline})")
    if not found and not named:
        return FileDisk(file)
    return _assembled(file, [*found, *named][0])


def _assembled(file: str, assembly: etree._Element) -> FileDisk:
    kind = assembly.get("type", "")
    parts = tuple(_path(_text(part), f"a part of {file}") for part in assembly.findall("part"))
    if not kind.startswith("splited") and len(parts) > 1:
        raise UserError(
            f"{file} is of type {kind} and has {len(parts)} parts; several parts are of type splited"
        )
    if len(set(parts)) < len(parts):
        raise UserError(f"{file} has the same part twice (line {assembly.sourceline})")
    stated = [part.get("sha256") for part in assembly.findall("part")]
    is_stated = any(one is not None for one in stated)
    checksums = tuple((one or "").strip().lower() for one in stated) if is_stated else ()
    if not all(_SHA256.fullmatch(one) for one in checksums):
        raise UserError(
            f"each part of {file} must have a sha256 of 64 hexadecimal digits, or no part has one "
            f"(line {assembly.sourceline})"
        )
    return FileDisk(file, parts, checksums)


def _volume(node: etree._Element, source: etree._Element) -> VolumeDisk:
    values = {name: (source.get(name) or "").strip() for name in ("host", "pool", "volume")}
    for name, value in values.items():
        if not value or any(character.isspace() for character in value):
            raise UserError(f"the volume of {node.tag} has no valid {name} (line {source.sourceline})")
    pool, volume = values["pool"], values["volume"]
    if "/" in volume:
        stated, _, volume = volume.rpartition("/")
        if stated != pool:
            raise UserError(
                f"volume='{one_line(values['volume'])}' of {node.tag} is in the pool {one_line(stated)}, and "
                f"pool='{one_line(pool)}' is another one; correct one of them (line {source.sourceline})"
            )
    return VolumeDisk(values["host"], pool, volume)


def _path(text: str, what: str) -> str:
    """A path that stays in the folder of vc-in.xml; hidden folders and files there are ours (`repository`)."""
    path = PurePosixPath(text)
    is_hidden = any(part.startswith(".") for part in path.parts)
    if not path.parts or not text.isprintable() or "," in text or path.is_absolute() or is_hidden:
        raise UserError(
            f"{what} is {one_line(text)[:200]!r}; give a path below the folder of vc-in.xml, without .., hidden parts "
            "and commas"
        )
    return str(path)


def _wait(compute: etree._Element) -> BootWait | None:
    """What is known of boot_dependency: a wait for the frontend, of a known type. Anything else is ignored."""
    wait = compute.find("boot_dependency[@parent='frontend']/wait")
    if wait is None or wait.get("type") not in ("clock", "ssh"):
        return None
    kind: Literal["clock", "ssh"] = "ssh" if wait.get("type") == "ssh" else "clock"
    if kind == "clock" and wait.get("value") is None:
        return None
    text = wait.get("value", str(_SSH_SECONDS))
    if not _NUMBER.fullmatch(text) or int(text) > _MAX_WAIT_SECONDS:
        raise UserError(
            f"computes wait {one_line(text)[:40]!r} seconds; give 0 to {_MAX_WAIT_SECONDS} (line {wait.sourceline})"
        )
    return BootWait(kind, min(int(text), _LONGEST_WAIT_SECONDS))


def _memory_mb(domain: etree._Element) -> int | None:
    memory = domain.find("memory")
    if memory is None:
        return None
    text, unit = _text(memory), (memory.get("unit") or "KiB").lower()
    if not _NUMBER.fullmatch(text) or unit not in _UNIT_BYTES:
        raise UserError(
            f"the memory of a domain is a number with a unit of libvirt (line {memory.sourceline})"
        )
    return -(-int(text) * _UNIT_BYTES[unit] // 1024**2)


def _cpus(domain: etree._Element) -> int | None:
    text = _text(domain.find("vcpu"))
    return int(text) if _NUMBER.fullmatch(text) else None


def _text(element: etree._Element | None) -> str:
    return "" if element is None else (element.text or "").strip()
