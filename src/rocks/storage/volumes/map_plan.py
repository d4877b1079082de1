"""The maps of images that a virtual machine needs before it starts. Pure.

Source: img-storage specification §1.2, §1.3 and §3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.core.values import FALSE_VALUES, TRUE_VALUES
from rocks.storage.volumes.volume_names import volume_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.inventory.records import Host, VirtualMachine
    from rocks.storage.volumes.places import DiskLocation


class ImageSpec(NamedTuple):
    """Disk `number` of a machine, to be mapped to its container; `size_gib` applies only to a volume that is created.

    `is_persistent` is the machine's attribute img_persistent, None when it is not set; `machine` is its UUID.
    """

    vm: str
    number: int
    disk_id: int
    nas: str
    zpool: str
    volume: str
    size_gib: int
    host: str
    pool: str | None
    sync: bool
    is_persistent: bool | None
    machine: str = ""


def plan_images(vm: VirtualMachine, locations: Iterable[DiskLocation]) -> list[ImageSpec]:
    """The images that must be mapped before the machine starts: those of its disks on a NAS.

    StateError when it has no container, a disk has no pool, or img_persistent is neither yes nor no.
    """
    disks = [disk for disk in locations if disk.nas]
    if not disks:
        return []
    if vm.container is None:
        raise StateError(f"Unable to allocate storage for {vm.name}: it has no physical host")
    for disk in disks:
        if not disk.zpool:
            raise StateError(
                f"Unable to allocate storage for {vm.name}: disk number {disk.number} on {disk.nas} has no pool; "
                f"rocks set host vm nas {vm.name} nas={disk.nas} zpool=POOL index={disk.number}"
            )
    return [_image_spec(vm, vm.container, disk) for disk in disks]


def follows(container: Host, vm: Host) -> bool:
    """Whether images are copied to the container: its img_sync is true, and that of the machine is not false."""
    return container.is_true("img_sync") and (not vm.attribute("img_sync") or vm.is_true("img_sync"))


def pool_of(container: Host) -> str:
    """The container's pool for copies of images."""
    return container.attribute("imgstorage-pool") or container.attribute("vm_container_zpool")


def _image_spec(vm: VirtualMachine, container: Host, disk: DiskLocation) -> ImageSpec:
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
        _is_persistent(vm),
        vm.uuid,
    )


def _is_persistent(vm: VirtualMachine) -> bool | None:
    text = vm.host.attributes.get("img_persistent", "").lower()  # unset, the NAS keeps what it has
    if not text:
        return None
    if text in TRUE_VALUES or text in FALSE_VALUES:
        return text in TRUE_VALUES
    raise StateError(
        f'the attribute img_persistent of {vm.name} is "{printable(text)}"; it must be yes (changes are written back) '
        f"or no (changes are discarded): rocks set host attr {vm.name} img_persistent yes"
    )
