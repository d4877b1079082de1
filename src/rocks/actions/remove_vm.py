"""Remove virtual machines: stop what runs, then delete their rows; the node, its interfaces and images stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.actions.stop_vm import stop_vms
from rocks.cluster.lease_plan import place_of
from rocks.database import leases
from rocks.database import vms as table
from rocks.database.vm_changes import delete_vms
from rocks.errors import BusyError, HostError, RocksError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


@dataclass(frozen=True)
class Removed:
    """What is left to tell: `warnings` about hosts, and the images that stay where they are."""

    warnings: tuple[str, ...]
    images: tuple[str, ...]


def remove_vms(database: Database, names: Sequence[str]) -> Removed:
    """Stop the named machines and delete their rows of `vm_nodes` and `vm_disks`.

    Commits before the rows are deleted. A host that does not answer is a warning: its lease stays, so that no
    machine of the same name or on the same disks starts before it is known to be gone. StateError when a name is
    no virtual machine, BusyError when another command is changing one; then no row is deleted.
    """
    machines = table.load_vms(database, names)
    held = leases.read_leases(database, names)
    placed = [vm.name for vm in machines if place_of(vm, held.get(vm.name.lower())) is not None]
    outcomes = stop_vms(database, placed)
    for error in outcomes.failed.values():
        if isinstance(error, BusyError):
            raise error
    delete_vms(database, [vm.name for vm in machines])
    warnings = [*(_warning(name, error) for name, error in outcomes.failed.items()), *outcomes.warnings]
    images = [
        f"{vm.container.name}:{disk.path}"
        for vm in machines
        if vm.container is not None
        for disk in vm.disks
        if not disk.is_block
    ]
    return Removed(tuple(warnings), tuple(images))


def _warning(name: str, error: RocksError) -> str:
    why = "the host does not answer" if isinstance(error, HostError) else "it could not be stopped"
    return f"Warning (libvirt): {name} is removed from the database, but {why}: {error}"
