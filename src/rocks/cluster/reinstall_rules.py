"""Whether a virtual machine can get a fresh disk, made from its image at the next start. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.names import first_few
from rocks.leases.plan import SAVED
from rocks.library.guest_images import (
    IMAGE_ATTRIBUTE,
    INSTANCE_ATTRIBUTE,
    check_disk_size,
    check_source_place,
    source_disk,
    volume_of,
)
from rocks.storage.image.states import UNMAPPED
from rocks.storage.volumes.places import removal_command
from rocks.storage.wire.names import is_base

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.library.guest_images import Source
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import ImageRow

_NOT_DESTROYED = ("blocked", "restoring", "moving", "growing", "arriving")
"""States of an image in which the NAS refuses a removal."""


def check_has_image(vm: VirtualMachine) -> None:
    """StateError unless a start makes the machine's first disk from an image where that does not exist."""
    if not vm.host.attribute(IMAGE_ATTRIBUTE):
        raise StateError(
            f"{vm.name} has no image (attribute {IMAGE_ATTRIBUTE}), so a fresh disk would be empty; rocks set "
            f"host attr {vm.name} {IMAGE_ATTRIBUTE} IMAGE gives it one. To install it from an ISO of the library: "
            f"rocks set host boot {vm.name} action=os, rocks set host vm cdrom {vm.name} image=ISO, then rocks start "
            f"host vm {vm.name}"
        )
    if vm.container is None or not vm.disks:
        raise StateError(
            f"{vm.name} has no physical host, or no disk: rocks list host vm {vm.name} showdisks=yes"
        )
    if not vm.disks[0].is_mapped and source_disk(vm) is None:
        raise StateError(
            f"the first disk of {vm.name}, {vm.disks[0].path}, is no raw image file and not on a NAS; only such disks "
            "are made from images"
        )


def check_is_off(vm: VirtualMachine, lease: Lease | None, force: bool) -> None:
    """StateError while the machine may run, unless `force`, and while its memory is saved."""
    if lease is None or not lease.is_held:
        return
    if lease.state == SAVED:
        raise StateError(
            f"{vm.name} is saved on {lease.host}, and its memory belongs to its disk: start it (rocks start host vm "
            f"{vm.name}), or discard the memory (rocks stop host vm {vm.name} saved=remove)"
        )
    if not force:
        raise StateError(
            f"{vm.name} may be running on {lease.host}: stop it (rocks stop host vm {vm.name}), or add force=yes, "
            "which powers it off"
        )


def check_source(vm: VirtualMachine, source: Source) -> None:
    """StateError when the image is larger than the disk, or on a NAS when that is not: none would be made."""
    check_source_place(vm)
    check_disk_size(vm.name, vm.disks[0], source.name, source.size_bytes)


def check_source_volume(
    vm: VirtualMachine, disk: DiskLocation, rows: Iterable[ImageRow], removed: Container[str]
) -> None:
    """StateError when the disk is to be a clone of a volume of its NAS which makes none, or is one of those `removed`.

    `rows` are the images of the NAS.
    """
    volume = volume_of(vm.host.attribute(IMAGE_ATTRIBUTE))
    if not volume:
        return
    begin = f"{vm.name} would get no disk: its image is the volume {volume}"
    set_other = f"rocks set host attr {vm.name} {IMAGE_ATTRIBUTE} IMAGE gives it another"
    row = next((row for row in rows if (row.zvol, row.zpool) == (volume, disk.zpool)), None)
    if row is None:
        raise StateError(f"{begin}, and {disk.nas} has no image of that name in {disk.zpool}; {set_other}")
    if volume in removed:
        raise StateError(f"{begin}, which this command removes; {set_other}")
    if row.state != UNMAPPED or row.remotehost is not None:
        where = f" on {row.remotehost}" if row.remotehost else ""
        raise StateError(
            f"{begin}, which is {row.state}{where}, and only an image at rest is cloned: rocks list host storagemap "
            f"{disk.nas}"
        )


def check_snapshots(vm: VirtualMachine, names: Sequence[str]) -> None:
    """StateError when the machine has snapshots: they are of all its disks."""
    if names:
        raise StateError(
            f"{vm.name} has the snapshot {names[0]}, which is of its present disks: remove it first: rocks remove host "
            f"vm snapshot {vm.name} {names[0]}"
        )


def check_owner(vm: VirtualMachine, disk: DiskLocation, volume: str, machine: str | None) -> None:
    """StateError when the image on the NAS bears the UUID of another machine: a removed one of the name has left it."""
    if machine not in ("", vm.uuid):
        raise StateError(
            f"the image {disk.nas}:{volume} belongs to another machine ({machine}), not to {vm.name}: remove it "
            f"({removal_command(disk.nas, disk.zpool, volume)} now=yes), and start {vm.name}: its disk is fresh then"
        )


def check_origin(disk: DiskLocation, volume: str, origin: str, image: str) -> None:
    """StateError when the machine's disk on a NAS is a clone of another machine's: the image is not what it was."""
    source = origin.partition("/")[2].partition("@")[0]
    if source and not is_base(source) and source != volume_of(image):
        raise StateError(
            f"the disk {disk.nas}:{volume} of {disk.vm} is a clone of {origin}, and would be made from the image "
            f"{image}, which is another content; to have such clones again: rocks remove cluster FRONTEND "
            "disks=remove, then rocks clone cluster"
        )


def check_clones(disk: DiskLocation, volume: str, clones: Sequence[str]) -> None:
    """StateError when other images are clones of the machine's disk on a NAS: image storage would not destroy it."""
    if clones:
        nas, name = disk.nas, clones[0].partition("/")[2]
        raise StateError(
            f"the disk {nas}:{volume} of {disk.vm} stays, since {first_few(clones, 1)} is a clone of it: remove the "
            f"machine of that first, or its image: {removal_command(nas, disk.zpool, name)} now=yes"
        )


def check_state(disk: DiskLocation, volume: str, state: str, reason: str) -> None:
    """StateError while image storage would not destroy the image, even when no host has it."""
    if state in _NOT_DESTROYED:
        raise StateError(
            f"the disk {disk.nas}:{volume} of {disk.vm} is {state}{f' ({reason})' if reason else ''}: rocks list host "
            f"storagemap {disk.nas}"
        )


def next_instance(machines: Iterable[VirtualMachine]) -> int:
    """A number that none of the machines has had as its instance."""
    numbers = (vm.host.attribute(INSTANCE_ATTRIBUTE) for vm in machines)
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=0)
