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


def machines_with_content_on(
    database: Database, hosts: Sequence[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(NAS, machine) of the machines with a disk on one of these NASes; (host, machine) of disks in doubt there.

    One statement: a removal of a host asks for both.
    """
    if not hosts:
        return [], []
    named = placeholders(hosts)
    rows = database.rows(
        "SELECT FALSE, s.nas_name, n.Name, n.ID FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        f" WHERE s.nas_name IN ({named})"
        " UNION SELECT TRUE, h.Name, n.Name, n.ID FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        " JOIN vm_nodes v ON v.ID = c.Vm_Node JOIN nodes n ON n.ID = v.Node"
        f" WHERE c.May_Be_Current AND h.Name IN ({named}) ORDER BY 1, 2, 4",
        [*hosts, *hosts],
    )
    stored = [(str(host), str(name)) for in_doubt, host, name, _ in rows if not in_doubt]
    return stored, [(str(host), str(name)) for in_doubt, host, name, _ in rows if in_doubt]
