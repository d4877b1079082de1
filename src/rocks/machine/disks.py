"""Disks of virtual machines: `TYPE:PATH,DEVICE,BUS`, and which copies may be used. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.fleet.wire.live_moves import moving_path
from rocks.inventory.records import Disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.inventory.records import Host, VirtualMachine


# Disk specifications, `TYPE:PATH,DEVICE,BUS`.

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


# Which copies of a machine's disks it may use: none that a move left, none in doubt after a live migration.


def check_no_copies(
    vm: VirtualMachine, host: Host | None, disks: Sequence[Disk], copies: Sequence[tuple[str, str]]
) -> None:
    """StateError when a disk would be a copy that a move made or left: its content is incomplete or old.

    A copy is a host and a path.
    """
    paths = {disk.path for disk in disks}
    for place, path in copies:
        if host is not None and place == host.name and paths & {path, moving_path(path)}:
            raise StateError(
                f"{path} on {place} is a copy of the disk of {vm.name} that a move made or left, and may be "
                f"old or incomplete; rocks move host vm {vm.name} {place} moves the present disk there"
            )


def check_no_doubt(vm: VirtualMachine) -> None:
    """StateError while the machine's disks are not decided (decision 176), or are restored in part."""
    if vm.restoring is not None:
        raise StateError(
            f"{vm.name} cannot be used: its disks are those of the snapshot {vm.restoring} in part, since a restore "
            f"was interrupted. Repeat it: rocks restore host vm snapshot {vm.name} {vm.restoring}; or, to use them "
            f"as they are, of different moments: rocks remove host vm snapshot {vm.name} {vm.restoring}"
        )
    if vm.doubted_host is not None:
        here = None if vm.container is None else vm.container.name
        raise StateError(f"{vm.name} cannot be used: {doubt_line(vm.name, here, vm.doubted_host)}")


def doubt_line(name: str, host: str | None, doubted_host: str) -> str:
    """Where the current disks of the machine may be, and the commands that decide it."""
    keep = (
        f"; or, to keep those of {host} and lose what was written on {doubted_host}: rocks move host vm {name} {host} "
        "disks=there"
        if host
        else ""
    )
    return (
        f"its current disks may be on {doubted_host}, since its live migration to that host was given up by force. To "
        f"use them, when {doubted_host} is back: rocks move host vm {name} {doubted_host} disks=there{keep}"
    )


# What a changed record leaves as it is: images on their host, their sizes, and those that it has no more.


def image_lines(vm: VirtualMachine, target: Host | None, disks: Sequence[Disk] | None) -> list[str]:
    """A line for the images that stay on the old host, and one for each image that has another size, or is no disk now.

    `vm` is the machine before; `disks` are its new disks, None for the same. Devices and images of NASes are left out.
    """
    planned = {disk.path: disk for disk in (vm.disks if disks is None else disks)}
    images = [disk for disk in vm.disks if disk.path in planned and not disk.is_block and not disk.is_mapped]
    lines = [
        f"the image {disk.path} of {vm.name}, if it exists, keeps its size: only the record is "
        f"{planned[disk.path].size_gb} GB now, and was {disk.size_gb} GB; to grow the image: rocks set host vm disk "
        f"{vm.name} {disk.device} size=GB; nothing shrinks it"
        for disk in images
        if planned[disk.path].size_gb != disk.size_gb
    ]
    old = vm.container.name if vm.container is not None else ""
    recorded = {disk.path for disk in vm.disks}
    new = {path_disk.device: path for path, path_disk in planned.items() if path not in recorded}
    for disk in vm.disks:
        if old and disk.path not in planned and not disk.is_block and not disk.is_mapped:
            now = f"{new[disk.device]} as {disk.device}" if disk.device in new else f"no disk {disk.device}"
            lines.append(
                f"from its next start {vm.name} has {now}; the image {disk.path}, if it exists, stays on {old}, "
                f"which lists it: rocks list host image {old}"
            )
    if images and target is not None and old and target.name != old:
        lines.append(
            f"the images of {vm.name} that exist stay on {old} ({', '.join(disk.path for disk in images)}), and its "
            f"next start makes new ones where {target.name} has none; to take them along, if {old} answers: rocks set "
            f"host vm {vm.name} physnode={old}, then rocks move host vm {vm.name} {target.name}"
        )
    return lines
