"""Disks and CDs of virtual machines from images of the library: which image, and where it is on the host. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, StateError, UserError
from rocks.core.names import first_few, printable
from rocks.core.values import UNITS, size_text
from rocks.fleet.wire.requests import BASE_FOLDER, SEED_SUFFIX, BaseImage, base_path
from rocks.inventory.disks.places import directory_of, image_directories
from rocks.library.limits import LEAST_FREE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.errors import RocksError
    from rocks.fleet.wire.facts import DiskFact
    from rocks.fleet.wire.requests import DiskSpec
    from rocks.inventory.records import Disk, Host, VirtualMachine


LIBRARY_ATTRIBUTE = "image_library"
IMAGE_ATTRIBUTE = "vm_image"
CLONE_ATTRIBUTE = "vm_disk_clone_of"
KEYS_ATTRIBUTE = "vm_authorized_keys"
ADDRESS_ATTRIBUTE = "vm_cluster_address"
CLUSTER_KEY_ATTRIBUTE = "vm_cluster_key"
INSTANCE_ATTRIBUTE = "vm_instance"
VC_OUT_ATTRIBUTE = "vm_vc_out"

VOLUME_PREFIX = "volume:"
LONGEST_NAME = 64
_COPY = re.compile(rf"/{BASE_FOLDER}/[0-9a-f]{{64}}\.img\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class Source(NamedTuple):
    """An image of the library as a source of disks: sizes in bytes, and the digest of its content.

    Of a volume of a NAS the name alone is known: `volume:VOLUME`.
    """

    name: str
    size_bytes: int
    used_bytes: int
    digest: str


def check_image_name(name: str) -> None:
    """UserError unless the name is valid for an image."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f'the name of an image has 1 to {LONGEST_NAME} letters, digits and . _ + -, not "{printable(name)}"'
        )


def volume_of(name: str) -> str:
    """The volume of a NAS that disks are clones of, of `volume:VOLUME`; '' for an image of the library."""
    return name.removeprefix(VOLUME_PREFIX) if name.startswith(VOLUME_PREFIX) else ""


def check_source_name(name: str) -> None:
    """UserError unless the name is valid for what disks are made from: an image, or `volume:VOLUME`."""
    check_image_name(volume_of(name) or name)


def check_no_users(name: str, users: Sequence[str]) -> None:
    """StateError when an image, or `volume:VOLUME`, is to be removed from which these machines get their disks."""
    if users:
        raise StateError(
            f"the image {name} is not removed, since disks are made from it (attribute {IMAGE_ATTRIBUTE}): those of "
            f"{first_few(users, 5)}; remove these machines, or "
            f"rocks remove host attr {users[0]} {IMAGE_ATTRIBUTE}",
            code=Code.LIBRARY_IMAGE_IN_USE,
        )


def source_disk(vm: VirtualMachine) -> Disk | None:
    """The disk that its host makes from the machine's image: the first, if it is a raw file; None without an image."""
    if not vm.host.attribute(IMAGE_ATTRIBUTE) or not vm.disks:
        return None
    disk = vm.disks[0]
    return disk if not (disk.is_block or disk.is_mapped) and disk.type in ("file", "tap:aio") else None


def seed_path(vm: VirtualMachine) -> str | None:
    """The file of the machine's second disk, for cloud-init; None for a machine that has no image.

    It is beside the first disk; that of a machine whose disk is on a NAS is in the host's first image directory.
    """
    disk = source_disk(vm)
    if disk is not None:
        return f"{disk.path}{SEED_SUFFIX}"
    if vm.container is None or not _is_on_nas(vm):
        return None
    places = image_directories(vm.container)
    return f"{places[0]}/{vm.name}{SEED_SUFFIX}" if places else None


def check_seed_place(vm: VirtualMachine) -> None:
    """StateError when the machine's disk is on a NAS, and its host has no folder for its disk for cloud-init."""
    if vm.container is not None and _is_on_nas(vm) and seed_path(vm) is None:
        name = vm.container.name
        raise StateError(
            f"{vm.name} is not started: it has an image, and {name} has no image directory for its small disk with "
            f"name, addresses and keys; set one: rocks set host attr {name} vm_image_directory /FOLDER"
        )


def _is_on_nas(vm: VirtualMachine) -> bool:
    return bool(vm.host.attribute(IMAGE_ATTRIBUTE) and vm.disks and vm.disks[0].is_mapped)


def is_copy(path: str) -> bool:
    """Whether the file of a host is its copy of an image of the library."""
    return _COPY.search(path) is not None


def check_disk_size(name: str, disk: Disk, image: str, size_bytes: int) -> None:
    """StateError unless this disk of the machine can be made from the image, which has that size."""
    if disk.size_bytes < size_bytes:
        unit_bytes, _ = UNITS[disk.unit]
        raise StateError(
            f"the disk of {name} has {disk.size_gb} {disk.unit}, and the image {image} is a disk of "
            f"{size_bytes / unit_bytes:.1f} {disk.unit}; give it at least {-(-size_bytes // unit_bytes)} {disk.unit}"
        )


def check_source_place(vm: VirtualMachine) -> None:
    """StateError when the machine's disk is to be a clone of a volume of its NAS, and is on none."""
    name = vm.host.attribute(IMAGE_ATTRIBUTE)
    if volume_of(name) and not (vm.disks and vm.disks[0].is_mapped):
        raise StateError(
            f"the image of {vm.name} is {name}, a volume of a NAS, and its disk is on no NAS; rocks set host vm nas "
            f"{vm.name} nas=NAS zpool=POOL"
        )


def needs_source(vm: VirtualMachine, facts: Sequence[DiskFact]) -> bool:
    """Whether the machine's disk has to be made from its image."""
    disk = source_disk(vm)
    return disk is not None and not any(fact.path == disk.path and fact.exists for fact in facts)


def not_in_image_directory(vm: VirtualMachine, container: Host) -> StateError:
    """The error of a machine with an image whose first disk is elsewhere."""
    return StateError(
        f"{vm.name} is not started: its disk is not in an image directory of {container.name}; rocks set host vm "
        f"{vm.name} disk=… gives it another, the attribute vm_image_directories of {container.name} allows more"
    )


def base_on(vm: VirtualMachine, container: Host, source: Source) -> BaseImage:
    """The copy of the image on the container, in the image directory of the machine's disk. StateError without one."""
    disk = source_disk(vm)
    directory = None if disk is None else directory_of(container, disk.path)
    if disk is None or directory is None:
        raise not_in_image_directory(vm, container)
    check_disk_size(vm.name, disk, source.name, source.size_bytes)
    return BaseImage(directory, source.digest, source.size_bytes, source.used_bytes)


def with_base(
    vm: VirtualMachine, disks: Sequence[DiskSpec], facts: Sequence[DiskFact], base: BaseImage, has_base: bool
) -> tuple[DiskSpec, ...]:
    """The disks, the first one made from the copy of the image. StateError when the host has no space for it."""
    first = disks[0]
    fact = next(fact for fact in facts if fact.path == first.path)
    needed = base.used_bytes * (1 if has_base else 2) + LEAST_FREE_BYTES
    if fact.free_bytes < needed:
        what = "its disk" if has_base else "the copy of its image, its disk"
        raise StateError(
            f"{vm.name} is not started: {what} and the {size_text(LEAST_FREE_BYTES)} that must stay free need "
            f"{size_text(needed)}, and the file system of {first.path} has {size_text(fact.free_bytes)} free; free "
            "space there, or use another folder"
        )
    return (replace(first, base=base), *disks[1:])


# CDs of virtual machines from the image library: which one, and where it is on the host. Pure.
#
# The ISO is an attribute (`vm_cdrom`) and not a path on the host. All drives of a host share one copy, which is
# only read and bears no machine's UUID; its content is read again only when its time of change is another one,
# since a digest of a DVD takes long.


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


def check_medium_space(vm: VirtualMachine, image: str, base: BaseImage, fact: DiskFact) -> None:
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
