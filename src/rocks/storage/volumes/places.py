"""The NAS and pool of each disk of virtual machines. Pure. Source: img-storage specification §3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.names import check_plain_name, printable
from rocks.leases.plan import SAVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rocks.inventory.records import Host, Lease

    Draw = Callable[[int], int]
    """A random number from 0 to below the one given."""

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
