"""Disks in the libvirt domain of a virtual machine, as lines of XML. Pure. Source: specification §5.8."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count

from lxml import etree

from rocks.core.errors import UserError
from rocks.inventory.records import Disk, VirtualMachine
from rocks.library.guest_images import seed_path
from rocks.machine.domain.elements import element, lines_of
from rocks.machine.placement.placement_attributes import iothreads_of, queues_of

VIRTIO = ("virtio", "w")
"""Names of the virtio bus in the database."""

IDE_DEVICES = ("hda", "hdb", "hdc", "hdd")
BLOCK_DRIVER = {
    "name": "qemu",
    "type": "raw",
    "cache": "none",
    "error_policy": "stop",
    "rerror_policy": "stop",
}
"""For a block device, which may be on a NAS: an I/O error pauses the guest instead of corrupting its file system, and
no acknowledged write stays in the host's memory only."""

DRIVER_TYPES = {"file": "raw", "tap:aio": "raw", "qcow2": "qcow2", "qed": "qed"}

_SERIES = re.compile("xvd|[vsh]d")


def disk_lines(vm: VirtualMachine) -> list[str]:
    """Disks, the CD drive, and the disk for cloud-init. UserError for a disk of an unknown type."""
    hints = {disk.device for disk in vm.disks}
    taken: set[str] = set()
    ide_letters: set[str] = set()
    lines: list[str] = []
    freed = {"discard": "unmap"} if vm.host.is_true("kvm_discard") else {}
    drivers = _virtio_drivers(queues_of(vm), iothreads_of(vm), freed)
    for disk in vm.disks:
        target = disk.device if disk.device not in taken else _free_target(disk.device, taken | hints)
        taken.add(target)
        lines += lines_of(_disk(disk, target, next(drivers) if disk.bus in VIRTIO else freed), 4)
        if disk.bus == "ide":
            ide_letters.add(target[-1])  # libvirt maps sda on the IDE bus to the place of hda
    if vm.cdrom_path:
        free = (name for name in IDE_DEVICES if name not in taken and name[-1] not in ide_letters)
        device = next(free, None)
        if device is None:
            raise UserError(f"{vm.name} has no free IDE device for its cdrom; move a disk to another bus")
        lines += lines_of(_cdrom(vm.cdrom_path, device), 4)
    seed = seed_path(vm)
    if seed is not None:
        lines += _seed_lines(vm, seed, taken | hints)
    return lines


def _virtio_drivers(queues: int, iothreads: int, freed: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Attributes of the driver of one virtio disk after the other: the threads take turns."""
    for number in count():
        thread = {"iothread": str(number % iothreads + 1)} if iothreads else {}
        yield {**freed, **({"queues": str(queues)} if queues > 1 else {}), **thread}


def _disk(disk: Disk, target: str, more: Mapping[str, str]) -> etree._Element:
    bus = "virtio" if disk.bus == "w" else disk.bus
    if disk.is_block:
        driver, source, kind = BLOCK_DRIVER, {"dev": disk.path}, "block"
    elif disk.type in DRIVER_TYPES:
        driver, source, kind = {"name": "qemu", "type": DRIVER_TYPES[disk.type]}, {"file": disk.path}, "file"
    else:
        raise UserError("Disk type is not valid. Please see rocks help add host vm.")
    return element(
        "disk",
        {"type": kind, "device": "disk"},
        element("driver", {**driver, **more}),
        element("source", source),
        element("target", {"dev": target, "bus": bus}),
    )


def _seed_lines(vm: VirtualMachine, path: str, taken: set[str]) -> list[str]:
    """The disk that cloud-init finds by its label, on a bus of its own: Linux names vda, vdb, … in their order.

    So a disk that is added while the guest runs keeps its name. The bus is SCSI of virtio, since kernels for clouds
    have no AHCI. Linux also names disks of other buses sda, sdb, …: beside such a disk it is one of virtio.
    """
    if any(disk.bus not in VIRTIO for disk in vm.disks):
        return lines_of(_seed(path, _free_target("vda", taken), "virtio"), 4)
    controller = element("controller", {"type": "scsi", "index": "0", "model": "virtio-scsi"})
    return [*lines_of(controller, 4), *lines_of(_seed(path, _free_target("sda", taken), "scsi"), 4)]


def _seed(path: str, target: str, bus: str) -> etree._Element:
    return element(
        "disk",
        {"type": "file", "device": "disk"},
        element("driver", {"name": "qemu", "type": "raw"}),
        element("source", {"file": path}),
        element("target", {"dev": target, "bus": bus}),
        element("readonly"),
    )


def _cdrom(path: str, device: str) -> etree._Element:
    is_block = path.startswith("/dev/")
    return element(
        "disk",
        {"type": "block" if is_block else "file", "device": "cdrom"},
        element("driver", {"name": "qemu", "type": "raw"}),
        element("source", {"dev" if is_block else "file": path}),
        element("target", {"dev": device, "bus": "ide"}),
        element("readonly"),
    )


def _free_target(device: str, taken: set[str]) -> str:
    """Unique targets: disks in the database may have the same device, but libvirt requires each target once."""
    match = _SERIES.match(device)
    series = match.group() if match else device[:-1]
    from string import ascii_lowercase  # late, with its regular expressions: most devices are free

    letters = [*ascii_lowercase, *(one + other for one in ascii_lowercase for other in ascii_lowercase)]
    free = (series + letter for letter in letters if series + letter not in taken)
    target: str | None = next(free, None)
    if target is None:
        raise UserError(f"too many disks have the device {device}; change it for some of them")
    return target
