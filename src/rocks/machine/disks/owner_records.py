"""Virtual machines by the UUIDs that disk images bear, and by the places of their disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Disk, VirtualMachine


def names_of_uuids(database: Database, uuids: Collection[str]) -> dict[str, str]:
    """UUID → virtual machine; UUIDs of removed machines are omitted."""
    rows = database.rows(
        "SELECT v.UUID, n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE v.UUID IN %s",
        [sorted(uuids)],
    )
    return {str(uuid): str(name) for uuid, name in rows}


def machine_with_disk(database: Database, host: str, path: str, besides: str = "") -> str | None:
    """A virtual machine, `besides` one, that has this path of the host as a disk or whose lease covers it, or None."""
    folder, _, name = path.rpartition("/")
    rows = database.rows(
        "SELECT n.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " JOIN nodes p ON p.ID = v.PhysNode WHERE n.Name <> %s AND p.Name = %s AND (d.Name = %s OR"
        " (d.Name = %s AND TRIM(TRAILING '/' FROM d.Prefix) = %s))"
        " UNION SELECT Name FROM vm_lease_disks WHERE Name <> %s AND Host = %s AND Path = %s",
        (besides, host, path, name, folder, besides, host, path),
    )
    return str(rows[0][0]) if rows else None


def moments_of_disks(database: Database, machines: Sequence[VirtualMachine]) -> dict[tuple[str, str], int]:
    """(machine, path) → since when it has this disk, in seconds since 1970; without those that another one has, too.

    One statement.
    """
    names = {
        name for vm in machines for disk in vm.disks for name in (disk.path, disk.path.rpartition("/")[2])
    }
    rows = database.rows(
        "SELECT n.Name, IFNULL(p.Name, ''), IFNULL(d.Prefix, ''), d.Name, UNIX_TIMESTAMP(d.Recorded) FROM vm_disks d"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE d.Name IN %s",
        [sorted(names)],
    )
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for machine, host, prefix, name, moment in rows:
        path = f"{prefix.rstrip('/')}/{name}" if prefix else name
        found.setdefault((host, path), []).append((str(machine), int(moment)))
    return {(one[0][0], path): one[0][1] for (_, path), one in found.items() if len(one) == 1}


def shared_disk_note(database: Database, vm: VirtualMachine, disk: Disk) -> tuple[str, ...]:
    """That another machine has the disk, by the records; a line, or none."""
    container = vm.container
    if container is None or disk.is_mapped:
        return ()
    other = machine_with_disk(database, container.name, disk.path, besides=vm.name)
    if other is None:
        return ()
    return (f"{disk.path} of {container.name} is a disk of {other}: {vm.name} cannot start with it",)


def machines_with_devices(database: Database, devices: Collection[str]) -> dict[str, list[str]]:
    """Name of a device of the device mapper → the virtual machines that have it as a disk; one statement."""
    chosen = sorted(devices)
    paths = [f"/dev/mapper/{device}" for device in chosen]
    rows = database.rows(
        "SELECT SUBSTRING_INDEX(d.Name, '/', -1), n.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node"
        " JOIN nodes n ON n.ID = v.Node"
        " WHERE (d.Name IN %s AND TRIM(TRAILING '/' FROM d.Prefix) = '/dev/mapper')"
        " OR d.Name IN %s ORDER BY n.ID",
        [chosen, paths],
    )
    found: dict[str, list[str]] = {}
    for device, name in rows:
        found.setdefault(str(device), []).append(str(name))
    return found
