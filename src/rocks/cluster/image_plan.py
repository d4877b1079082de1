"""Images of virtual machines: their names, and what is asked of a NAS when a machine starts. Pure.

Source: img-storage specification §1.2, §1.3 and §3.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.attributes import KNOWN
from rocks.cluster.names import printable
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.cluster.image_places import DiskLocation
    from rocks.cluster.records import Host, VirtualMachine

VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")
IMAGE_ATTRIBUTES = ("frequency", "nextsync", "uploadspeed", "downloadspeed", "persistent")
LARGEST_SIZE_GB = 16 * 1024**2
"""ZFS's own bound is beyond; this is 16 PiB."""

_TRUE = ("on", "yes", "y", "true", "1")
_FALSE = ("off", "no", "n", "false", "0")


class ImageSpec(NamedTuple):
    """Disk `number` of a machine, to be mapped to its container; `size_gb` counts only for a volume that is made.

    `is_persistent` is what the machine's attribute img_persistent says, None when it says nothing.
    """

    vm: str
    number: int
    disk_id: int
    nas: str
    zpool: str
    volume: str
    size_gb: int
    host: str
    pool: str | None
    sync: bool
    is_persistent: bool | None


def volume_name(vm: str, number: int) -> str:
    """Volume of a machine's disk: `vm-vc1-0-vol` for number 0, then `vm-vc1-0-vol1` and so on."""
    return f"{vm}-vol{number or ''}"


def check_volume_name(name: str) -> None:
    """UserError unless `name` may be that of a volume."""
    if not VOLUME.match(name):
        raise UserError(
            f'volume "{printable(name)}" is not valid: it is a letter or a digit, and then up to 200 letters, digits, '
            "or any of _.:-"
        )


def check_image_attribute(name: str) -> None:
    """UserError unless an image has such an attribute."""
    if name not in IMAGE_ATTRIBUTES:
        raise UserError(
            f'"{printable(name)}" is no attribute of an image; there are {", ".join(IMAGE_ATTRIBUTES)}'
        )


def plan_images(vm: VirtualMachine, kept: Iterable[DiskLocation]) -> list[ImageSpec]:
    """What must be mapped before the machine starts: its disks that a NAS keeps.

    StateError when it has no container, a disk has no pool, or img_persistent is neither yes nor no.
    """
    disks = [disk for disk in kept if disk.nas]
    if not disks:
        return []
    if vm.container is None:
        raise StateError(f"Unable to allocate storage for {vm.name}: it has no physical host")
    for disk in disks:
        if not disk.zpool:
            raise StateError(
                f"Unable to allocate storage for {vm.name}: {disk.nas} keeps its disk number {disk.number} in no pool; "
                f"rocks set host vm nas {vm.name} nas={disk.nas} zpool=POOL index={disk.number} names one"
            )
    return [_wanted(vm, vm.container, disk) for disk in disks]


def follows(container: Host, vm: Host) -> bool:
    """Whether the image is copied to the container: its img_sync, which the machine's own can only switch off."""
    return container.is_true("img_sync") and (not vm.attribute("img_sync") or vm.is_true("img_sync"))


def pool_of(container: Host) -> str:
    """The container's pool for copies of images."""
    default = KNOWN["vm_container_zpool"].default
    return container.attribute("imgstorage-pool") or container.attribute("vm_container_zpool") or default


def _wanted(vm: VirtualMachine, container: Host, disk: DiskLocation) -> ImageSpec:
    sync = follows(container, vm.host)
    return ImageSpec(
        vm.name,
        disk.number,
        disk.disk_id,
        disk.nas,
        disk.zpool,
        volume_name(vm.name, disk.number),
        vm.disks[disk.number].size_gb,
        container.name,
        pool_of(container) if sync else None,  # a host without copies may have no ZFS at all
        sync,
        _keeps_changes(vm),
    )


def _keeps_changes(vm: VirtualMachine) -> bool | None:
    text = vm.host.attribute("img_persistent").lower()
    if not text:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise StateError(
        f'the attribute img_persistent of {vm.name} is "{printable(text)}", neither yes nor no: whether changes are '
        f"kept must be clear; rocks set host attr {vm.name} img_persistent yes"
    )
