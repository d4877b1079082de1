"""Rename hosts, with everything of them that has the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.names import check_new_host_name
from rocks.inventory import hosts as nodes
from rocks.inventory.host_records import lock_inventory, unlock_inventory
from rocks.inventory.hosts import check_name_unused
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases import lease as leases
from rocks.leases.fences import check_names_are_not_held
from rocks.leases.lease import ensure_locked
from rocks.machine import record as table
from rocks.network.dns.changes import names_after_commit
from rocks.storage.volumes import move_records as image_moves
from rocks.storage.volumes import place_records as image_places

if TYPE_CHECKING:
    from rocks.database.connection import Database


def rename_host(database: Database, name: str, new_name: str) -> list[str]:
    """Rename the host with its interfaces; the new name may differ in case only.

    Returns the disk files, as HOST:PATH, that keep the old name.

    UserError for a name that is not valid or in use. StateError for a virtual machine that may be running, because its
    domain has the old name, or with a disk on a NAS, because the volume has the old name. BusyError while another
    command changes it.
    """
    from rocks.site.shared_keys import rename_keys_after_commit  # paramiko is slow to load

    check_new_host_name(new_name, {appliance.lower() for appliance in nodes.appliance_names(database)})
    lock_inventory(database)
    if name.lower() != new_name.lower():
        check_name_unused(database, new_name, name)
        check_names_are_not_held(database, [new_name])
    ensure_locked(database, [name])
    lease = leases.read_leases(database, [name], lock=True).get(name.lower())
    if lease is not None and lease.is_held:
        raise StateError(
            f"host {name} is not renamed: it may be running on {lease.host}, where its domain has this name; stop it "
            f"first: rocks stop host vm {name}"
        )
    disks = [disk for disk in image_places.disk_locations(database, [name]) if disk.nas]
    if disks and name.lower() != new_name.lower():
        raise StateError(
            f"the volume of host {name} on {disks[0].nas} has its name: under a new name the machine would get an "
            f"empty disk; move the image elsewhere, then rocks remove host vm nas {name}"
        )
    nodes.rename_host(database, name, new_name)
    database.after_commit(lambda: unlock_inventory(database))  # what follows may wait for the broker
    names_after_commit(database)
    rename_keys_after_commit(database, {new_name: "", name: new_name})
    image_places.rename_nas(database, name, new_name)
    image_moves.rename_nas(database, name, new_name)
    leases.rename_lease_host(database, name, new_name)
    return [
        f"{vm.container.name}:{disk.path}"
        for vm in table.load_vms(database, which_are_vms(database, [new_name]))
        for disk in vm.disks
        if vm.container is not None and not disk.is_block and name.lower() in disk.name.lower()
    ]
