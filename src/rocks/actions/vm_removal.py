"""Remove virtual machines: stop what runs, then delete their rows; the node, its interfaces and images stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.actions.console_logs import remove_console_logs
from rocks.actions.host_images import check_erase, remaining_files, remove_disks
from rocks.actions.vm_power import stop_machines
from rocks.cluster.lease_plan import place_of
from rocks.database import leases
from rocks.database.vm_changes import delete_vms
from rocks.errors import BusyError, HostError, RocksError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.cluster.records import VirtualMachine
    from rocks.database.connection import Database


@dataclass(frozen=True)
class Removed:
    """`warnings` about hosts that did not answer; images that exist and remain, and removed ones, as `HOST:PATH`."""

    warnings: tuple[str, ...]
    images: tuple[str, ...]
    removed: tuple[str, ...] = ()


def remove_vms(database: Database, machines: Sequence[VirtualMachine], with_disks: bool = False) -> Removed:
    """Stop the machines and delete their rows of `vm_nodes` and `vm_disks`.

    Commits before the rows are deleted. A host that does not answer yields a warning: the lease remains, so that no
    machine with the same name or on the same disks starts before the old one is known to be gone. BusyError when
    another command is changing one of the machines; no row is deleted then. `with_disks`: the disks of stopped
    machines that bear their UUIDs are removed too.
    """
    if with_disks:
        check_erase(machines)
    held = leases.read_leases(database, [vm.name for vm in machines])
    places = {vm.name: place_of(vm, held.get(vm.name.lower())) for vm in machines}
    outcomes = stop_machines(database, [vm for vm in machines if places[vm.name] is not None])
    for error in outcomes.failed.values():
        if isinstance(error, BusyError):
            raise error
    removed: list[str] = []
    errors: list[str] = []
    if with_disks:
        stopped = [vm for vm in machines if vm.name not in outcomes.failed]
        removed, errors = remove_disks(database, stopped, places)
    silent = {name for name, error in outcomes.failed.items() if isinstance(error, HostError)}
    stay, unknown = remaining_files(database, [vm for vm in machines if vm.name not in silent], places)
    errors += remove_console_logs(database, [vm for vm in machines if vm.name not in outcomes.failed], places)
    delete_vms(database, [vm.name for vm in machines])
    silent_hosts = {host for name, host in places.items() if name in silent and host is not None}
    warnings = [
        *(_warning(name, error) for name, error in outcomes.failed.items()),
        *outcomes.warnings,
        *errors,
        *(
            f"whether disk images stay on {host}, which does not answer, is not known; when it does: "
            f"rocks list host image {host}"
            for host in sorted({*silent_hosts, *unknown})
        ),
    ]
    return Removed(tuple(warnings), tuple(image for image in stay if image not in removed), tuple(removed))


def _warning(name: str, error: RocksError) -> str:
    why = "the host does not answer" if isinstance(error, HostError) else "it could not be stopped"
    return f"Warning (libvirt): {name} is removed from the database, but {why}: {error}"
