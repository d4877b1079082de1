"""What else in the database depends on a host: machines placed on it, disks on a NAS; in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import placeholders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def machines_on(database: Database, hosts: Sequence[str]) -> list[tuple[str, str]]:
    """(container, virtual machine) of the machines that are placed on these hosts, whether they run or not."""
    if not hosts:
        return []
    rows = database.rows(
        "SELECT p.Name, n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        f" WHERE p.Name IN ({placeholders(hosts)}) ORDER BY p.ID, n.ID",
        hosts,
    )
    return [(str(host), str(name)) for host, name in rows]


def machines_with_disks_on(database: Database, hosts: Sequence[str]) -> list[tuple[str, str]]:
    """(NAS, virtual machine) of the machines with a disk on one of these hosts."""
    if not hosts:
        return []
    rows = database.rows(
        "SELECT DISTINCT s.nas_name, n.Name, n.ID FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        f" WHERE s.nas_name IN ({placeholders(hosts)}) ORDER BY s.nas_name, n.ID",
        hosts,
    )
    return [(str(nas), str(name)) for nas, name, _ in rows]
