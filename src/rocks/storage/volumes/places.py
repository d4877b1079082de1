"""The NAS and pool of each disk of a machine, the names of its volumes, and the maps that a start needs. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import check_plain_name, printable
from rocks.core.values import FALSE_VALUES, TRUE_VALUES, read_number
from rocks.leases.plan import SAVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rocks.inventory.records import Host, Lease, VirtualMachine

    Draw = Callable[[int], int]
    """A random number from 0 to below the one given."""


LARGEST_VOLUME_GIB = 16 * 1024**2
"""16 PiB, below the limit of ZFS."""

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")


def volume_name(vm: str, number: int) -> str:
    """The volume of a machine's disk: `vm-vc1-0-vol` for number 0, then `vm-vc1-0-vol1` and so on."""
    return f"{vm}-vol{number or ''}"


def removal_command(nas: str, zpool: str, volume: str) -> str:
    """The command that removes an image; with `now=yes` behind it, it cannot be restored for some time either."""
    return f"rocks remove host storageimg {nas} {zpool} {volume}"


def check_volume_name(name: str) -> None:
    """UserError unless `name` is valid for a volume."""
    if not _VOLUME.match(name):
        raise UserError(
            f'volume "{printable(name)}" is not valid: it must be a letter or a digit, then up to 200 letters, digits, '
            "or any of _.:-"
        )


def read_size_gib(text: str) -> int:
    """The size of a volume in GiB. UserError for text that is none."""
    return read_number("size", text, 1, LARGEST_VOLUME_GIB, "GiB")


# --- the NAS and pool of each disk ---------------------------------------------------------------------------------


NOWHERE = "none"
"""Instead of a NAS: the disk is at the path of its own definition."""

NAS_APPLIANCE = "nas"
POOL_LONGEST = 128
_RESERVED_PREFIXES = ("mirror", "raidz", "draid", "spare")
_RESERVED_NAME = "log"
"""Names that `zpool create` interprets as types of devices (zpoolconcepts(7))."""


class DiskLocation(NamedTuple):
    """Disk `number`, from 0, of a virtual machine, and its NAS and pool; empty for a disk that is on no NAS."""

    vm: str
    number: int
    disk_id: int
    nas: str = ""
    zpool: str = ""


def is_nowhere(nas: str) -> bool:
    """Whether the value, in any case, means that the disk is on no NAS."""
    return nas.lower() == NOWHERE


def check_pool_name(name: str) -> None:
    """UserError unless `name` is valid for a ZFS pool."""
    check_plain_name("zpool", name, POOL_LONGEST)
    if (
        not name[0].isalpha()
        or name.startswith(_RESERVED_PREFIXES)
        or name == _RESERVED_NAME
        or is_nowhere(name)
    ):
        raise UserError(
            f'zpool "{printable(name)}" is not valid: the name of a pool begins with a letter, not with '
            f"{', '.join(_RESERVED_PREFIXES)}, and is neither {_RESERVED_NAME} nor {NOWHERE}"
        )


def check_nas(host: Host) -> None:
    """StateError unless the host is a NAS: by its attribute img_storage_nas, without that by its appliance."""
    if host.attribute("img_storage_nas"):
        if host.is_true("img_storage_nas"):
            return
        reason = "its attribute img_storage_nas is not true: rocks set host attr"
    elif host.appliance.lower() == NAS_APPLIANCE:
        return
    else:
        reason = (
            "it has neither the attribute img_storage_nas nor the membership NAS Appliance; it is a "
            f"{host.appliance}, and rocks list host appliance shows which hosts are NASes (nas)"
        )
    raise StateError(f"host {host.name} is not a NAS: {reason}")


def pools_of(nas: Host) -> list[str]:
    """The pools in the attribute img_zpools of the NAS. StateError when it is empty or has an invalid name."""
    pools = _named_pools(nas)
    if not pools:
        raise StateError(
            f"there is no zpool to choose: {nas.name} has no attribute img_zpools; set it with "
            f"rocks set host attr {nas.name} img_zpools POOL,POOL or give zpool="
        )
    for pool in pools:
        try:
            check_pool_name(pool)
        except UserError as error:
            raise StateError(
                f"the attribute img_zpools of {nas.name} is not valid: {error}; correct it, or give zpool="
            ) from None
    return pools


def unlisted_pool(nas: Host, zpool: str) -> str | None:
    """The warning about a pool that is not in the attribute img_zpools of the NAS; None without the attribute."""
    pools = _named_pools(nas)
    if not pools or zpool in pools:
        return None
    return (
        f"{nas.name} has no pool {zpool} for images, but {', '.join(pools)} (its attribute img_zpools): set one of "
        f"these, or, if {zpool} exists there, run rocks set host attr {nas.name} img_zpools {','.join([*pools, zpool])}"
    )


def _named_pools(nas: Host) -> list[str]:
    names = dict.fromkeys(name.strip() for name in nas.attribute("img_zpools").split(","))
    return [name for name in names if name]


def disks_numbered(disks: Iterable[DiskLocation], names: Sequence[str], number: int) -> list[DiskLocation]:
    """Disk `number` of each of the virtual machines. StateError when a machine has no such disk."""
    found = {disk.vm.lower(): disk for disk in disks if disk.number == number}
    for name in names:
        if name.lower() not in found:
            raise StateError(
                f"host {name} has no disk number {number}; rocks list host vm {name} showdisks=yes shows its disks; "
                "the first is number 0"
            )
    return [found[name.lower()] for name in names]


def place_disks(
    disks: Iterable[DiskLocation], nas: str, pools: Sequence[str], draw: Draw
) -> list[DiskLocation]:
    """The disks, each in a random pool of the NAS. A disk that is already on that NAS stays in its pool.

    Otherwise a command given twice would leave an unused image in the first pool.
    """
    return [
        disk
        if disk.nas.lower() == nas.lower() and disk.zpool
        else disk._replace(nas=nas, zpool=pools[draw(len(pools))])
        for disk in disks
    ]


def check_not_running(leaving: Iterable[DiskLocation], leases: Iterable[Lease]) -> None:
    """StateError when a machine whose disk leaves a NAS may be running: its image could not be written back there."""
    held = {lease.name.lower(): lease for lease in leases if lease.is_held}
    for disk in leaving:
        lease = held.get(disk.vm.lower())
        if disk.nas and lease is not None:
            is_saved = lease.state == SAVED
            raise StateError(
                f"host {disk.vm} {'is saved' if is_saved else 'may be running'} on {lease.host}, and its image is "
                f"written back to {disk.nas}: stop it first with rocks stop host vm {disk.vm}"
                f"{' saved=remove' if is_saved else ''}"
            )


# --- the maps of images that a machine needs before it starts ------------------------------------------------------


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
