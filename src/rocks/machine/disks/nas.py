"""Assign disks of virtual machines to a NAS and one of its pools."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.values import read_number
from rocks.inventory.loaded_host_records import load_hosts, which_are_vms
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.machine.records import check_all_are_vms
from rocks.storage.volumes import place_records as table
from rocks.storage.volumes.move_records import check_no_moves, read_moves
from rocks.storage.volumes.move_rules import check_not_moving
from rocks.storage.volumes.places import (
    check_nas,
    check_not_running,
    check_pool_name,
    disks_numbered,
    is_nowhere,
    place_disks,
    pools_of,
    unlisted_pool,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Host
    from rocks.storage.volumes.places import DiskLocation


def set_vm_nas(database: Database, names: Sequence[str], nas: str, zpool: str, index: str) -> str | None:
    """Record that disk number `index` of each machine is on the host `nas` in `zpool`; `none`: on no NAS.

    Without `zpool` each disk gets one of the NAS's `img_zpools`; returns the warning about another one. Takes effect at
    the next start; a constant number of statements. UserError for an invalid parameter; StateError for a host that is
    not a NAS or not a virtual machine, has no such disk, or may be running while its disk would leave a NAS; BusyError
    while another command changes a machine. Nothing is changed then.
    """
    number = read_number("index", index, 0)
    if zpool:
        check_pool_name(zpool)
    server = None if is_nowhere(nas) else _load_nas(database, nas, names)
    pools = [] if server is None or zpool else pools_of(server)
    check_all_are_vms(names, which_are_vms(database, names))
    ensure_locked(database, names)
    before = disks_numbered(table.disk_locations(database, names), names, number)
    if server is None:
        after = [disk._replace(nas="", zpool="") for disk in before]
    elif zpool:
        after = [disk._replace(nas=server.name, zpool=zpool) for disk in before]
    else:
        after = place_disks(before, server.name, pools, secrets.randbelow)
    check_not_moving(before, read_moves(database))
    _check_not_running(database, [old for old, new in zip(before, after, strict=True) if old != new])
    table.put_disks(database, after)
    return unlisted_pool(server, zpool) if server is not None and zpool and after != before else None


def remove_vm_nas(database: Database, names: Sequence[str]) -> None:
    """Delete the assignments of disks to a NAS for those hosts that are virtual machines.

    StateError when a machine with a disk on a NAS may be running, BusyError while another command changes one.
    """
    machines = _lock_machines(database, names)
    check_no_moves(database, table.disk_locations(database, machines))
    _check_not_running(database, table.disk_locations(database, machines))
    table.delete_disks(database, machines)


def forget_vm_nas(database: Database, names: Sequence[str]) -> None:
    """As `remove_vm_nas`, for machines that are about to be stopped and removed. Errors as there."""
    machines = _lock_machines(database, names)
    check_no_moves(database, table.disk_locations(database, machines))
    table.delete_disks(database, machines)


def _load_nas(database: Database, name: str, machines: Sequence[str]) -> Host:
    if not name:
        raise UserError("nas= is missing: give nas=HOST, or nas=none for the disk's own definition")
    (server,) = load_hosts(database, [name])
    if name.lower() in (machine.lower() for machine in machines):
        raise UserError(f"host {name} cannot be the NAS of its own disk; name another NAS")
    check_nas(server)
    return server


def _lock_machines(database: Database, names: Sequence[str]) -> list[str]:
    machines = which_are_vms(database, names)
    ensure_locked(database, machines)
    return machines


def _check_not_running(database: Database, leaving: Sequence[DiskLocation]) -> None:
    disks = [disk for disk in leaving if disk.nas]
    check_not_running(disks, leases.read_leases(database, [disk.vm for disk in disks]).values())
