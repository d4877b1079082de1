"""CDs of virtual machines from the image library: which one, and where it is on the host. Pure.

The ISO is an attribute (`vm_cdrom`) and not a path on the host. All drives of a host share one copy, which is
only read and bears no machine's UUID; its content is read again only when its time of change is another one,
since a digest of a DVD takes long.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.units import size_text
from rocks.fleet.wire.requests import BaseImage, base_path
from rocks.inventory.disks.places import directory_of, image_directories
from rocks.library.guest_images import check_image_name
from rocks.library.limits import LEAST_FREE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.errors import RocksError
    from rocks.fleet.wire.facts import DiskFact
    from rocks.fleet.wire.requests import DiskSpec
    from rocks.inventory.records import Host, VirtualMachine
    from rocks.library.guest_images import Source

CD_ATTRIBUTE = "vm_cdrom"
CD_BOOT_ATTRIBUTE = "kvm_cdrom_boot"
BOOT_PLACES = ("first", "last")
EMPTY = ("none", "eject")
"""Words for no medium in the drive."""


def check_medium_name(name: str) -> None:
    """UserError unless the name is valid for an image that a drive can have."""
    check_image_name(name)
    if name.lower() in EMPTY:
        raise UserError(
            f'"{name}" stands for no CD, so no machine can have an image of that name in its drive'
        )


def medium_name(vm: VirtualMachine) -> str:
    """The image of the library that is in the machine's drive; empty: none is."""
    return vm.host.attribute(CD_ATTRIBUTE)


def boots_from_network(vm: VirtualMachine) -> bool:
    """Whether the network is in the machine's boot order."""
    return vm.host.attribute("kvm_netboot").lower() not in ("no", "n", "false", "off", "0")


def boots_cd_last(vm: VirtualMachine) -> bool:
    """Whether the machine boots its CD only where nothing else boots, such as from an empty disk."""
    return vm.host.attribute(CD_BOOT_ATTRIBUTE).lower() == BOOT_PLACES[1]


def medium_on(vm: VirtualMachine, container: Host, source: Source) -> BaseImage:
    """The copy of the ISO on the container: in the image directory of a disk of the machine, or in the first one.

    StateError when the container has no image directory.
    """
    of_disks = [directory_of(container, disk.path) for disk in vm.disks if not disk.is_block]
    found = [place for place in (*of_disks, *image_directories(container)) if place]
    if not found:
        raise StateError(
            f"{vm.name} is not started: its host {container.name} has no directory for images, where its CD "
            f"{source.name} would be: rocks set host attr {container.name} vm_image_directory /FOLDER"
        )
    return BaseImage(found[0], source.digest, source.size_bytes, source.used_bytes)


def with_medium(vm: VirtualMachine, base: BaseImage) -> VirtualMachine:
    """The machine with the copy of the ISO in its drive."""
    return replace(vm, cdrom_path=base_path(base))


def with_checked_medium(disks: Sequence[DiskSpec], base: BaseImage) -> tuple[DiskSpec, ...]:
    """The disks, where the host compares the CD with the copy that it has to be."""
    path = base_path(base)
    return tuple(replace(disk, base=base) if disk.is_cdrom and disk.path == path else disk for disk in disks)


def check_space(vm: VirtualMachine, image: str, base: BaseImage, fact: DiskFact) -> None:
    """StateError when the host has no space for the ISO."""
    needed = base.used_bytes + LEAST_FREE_BYTES
    if fact.free_bytes < needed:
        raise StateError(
            f"{vm.name} is not started: its CD {image} and the {size_text(LEAST_FREE_BYTES)} that must stay free need "
            f"{size_text(needed)}, and the file system of {base.directory} has {size_text(fact.free_bytes)} free; free "
            "space there, or eject the CD: "
            f"rocks set host vm cdrom {vm.name} eject"
        )


def with_medium_remedy(vm: VirtualMachine, error: RocksError) -> StateError:
    """The error of a copy of an ISO that was altered, with the command that removes it."""
    return StateError(
        f"{vm.name} is not started: {error}; remove it, and the next start copies the ISO again: "
        f"rocks remove host image {vm.container.name if vm.container else 'HOST'} {vm.cdrom_path}",
        code=error.code,
    )
