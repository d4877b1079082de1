"""Give a host another name: its node, its attributes, and the leases that it holds for virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.add_host import refuse_taken_name
from rocks.actions.vm_locks import lock_vms
from rocks.cluster.names import check_host_name
from rocks.database import image_places, leases, nodes
from rocks.errors import StateError

if TYPE_CHECKING:
    from rocks.database.connection import Database


def rename_host(database: Database, name: str, new_name: str) -> None:
    """Rename the host; a change of case only is one too.

    UserError for a name that is not allowed or taken; StateError for a virtual machine that some host may be
    running, since its domain there bears the old name, or whose disk a NAS keeps, since the volume there does;
    BusyError while another command changes it.
    """
    check_host_name(new_name, {appliance.lower() for appliance in nodes.appliance_names(database)})
    if name.lower() != new_name.lower():
        refuse_taken_name(database, new_name)
    for error in lock_vms(database, [name]).values():
        raise error
    lease = leases.read_leases(database, [name], lock=True).get(name.lower())
    if lease is not None and lease.is_held:
        raise StateError(
            f"host {name} may be running on {lease.host} under its old name: stop it first "
            f"with rocks stop host vm {name}"
        )
    kept = [disk for disk in image_places.disk_locations(database, [name]) if disk.nas]
    if kept and name.lower() != new_name.lower():
        raise StateError(
            f"the volume of host {name} on {kept[0].nas} bears its name: with another one the machine would begin with "
            f"an empty disk; bring the image elsewhere, then rocks remove host vm nas {name}"
        )
    nodes.rename_host(database, name, new_name)
    image_places.rename_nas(database, name, new_name)
    leases.rename_lease_host(database, name, new_name)
