"""Disk specifications, `TYPE:PATH,DEVICE,BUS`. Pure. Source: specification §5.4."""

from __future__ import annotations

import re

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.records import Disk

TYPES = ("file", "qcow2", "qed", "phy", "tap:aio")
BUSES = ("virtio", "ide", "scsi", "sata", "w")

LONGEST_PATH = 512
"""Characters that the database stores."""

LONGEST_FILE_NAME_BYTES = 255
"""The limit of Linux's file systems (NAME_MAX)."""

# The path of an iSCSI device contains colons.
_TYPE_AND_PATH = re.compile(rf"({'|'.join(TYPES)}):(.*)", re.DOTALL)
_DEVICE = re.compile(r"(vd|sd|hd|xvd)[a-z]{1,2}")
_BLANK_OR_END = re.compile(r"\s|\Z")


def read_disk(text: str, size_gb: int) -> Disk:
    """The disk that a specification describes.

    UserError unless it has exactly two commas, a known type and bus, a valid device, and a path without a
    `path_fault`.
    """
    parts = text.split(",")
    match = _TYPE_AND_PATH.fullmatch(parts[0])
    if len(parts) != 3 or match is None:
        raise UserError(
            f'Invalid disk specification "{printable(text)}": it must be TYPE:PATH,DEVICE,BUS with TYPE one of '
            f"{', '.join(TYPES)}. Please see rocks help add host vm."
        )
    disk_type, path = match.groups()
    _, device, bus = parts
    fault = path_fault(path)
    if fault:
        raise UserError(f'Invalid disk specification "{printable(text)}": the path {fault}')
    if not _DEVICE.fullmatch(device):
        raise UserError(
            f'Invalid disk specification "{printable(text)}": "{printable(device)}" is not a device like vda or sda'
        )
    if bus not in BUSES:
        raise UserError(
            f'Invalid disk specification "{printable(text)}": the bus must be one of {", ".join(BUSES)}'
        )
    return _disk_at(disk_type, path, device, bus, size_gb)


def split_disks(text: str) -> list[str]:
    """The specifications in a text, separated by blanks; a path may contain blanks.

    Each ends with the first blank after its second comma. The text is read once, whatever it contains.
    """
    found, start = [], 0
    while (first := text.find(",", start)) >= 0 and (second := text.find(",", first + 1)) >= 0:
        match = _BLANK_OR_END.search(text, second)
        end = match.start() if match else len(text)
        found.append(text[start:end].strip())
        start = end
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def path_fault(path: str) -> str | None:
    """Why `path` is not valid for a disk, as a predicate of "the path"; None for a valid path.

    A file must have a single path (no `//`, no `..`), because leases compare paths as text.
    """
    if not path.startswith("/") or {"", ".", ".."} & set(path[1:].split("/")):
        return f'"{printable(path)}" must be absolute, end in a name, and contain neither // nor . nor ..'
    if "," in path or not path.isprintable():
        return f'"{printable(path)}" must contain neither commas nor control characters'
    if len(path) > LONGEST_PATH or any(len(p.encode()) > LONGEST_FILE_NAME_BYTES for p in path.split("/")):
        return f"is too long: it may have {LONGEST_PATH} characters, each name in it {LONGEST_FILE_NAME_BYTES} bytes"
    return None


def default_disk(vm: str, folder: str, size_gb: int) -> Disk:
    """The default disk of a virtual machine: a raw file in `folder`."""
    return _disk_at("file", f"{folder.rstrip('/')}/{vm}.vda", "vda", "virtio", size_gb)


def _disk_at(disk_type: str, path: str, device: str, bus: str, size_gb: int) -> Disk:
    if disk_type == "phy":
        return Disk(disk_type, "", path, device, bus, size_gb)
    folder, _, name = path.rpartition("/")
    return Disk(disk_type, folder or "/", name, device, bus, size_gb)
