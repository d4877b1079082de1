"""Leases of the whole site, for the comparison with its hosts after a restore; in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.records import Disk, Lease
from rocks.leases.plan import RUNNING
from rocks.leases.records import cover_disks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.database.connection import Database


def hosts_with_machines(database: Database) -> list[str]:
    """Physical hosts on which a virtual machine may run: by appliance, placement, lease or fence.

    A host that was removed cannot be asked; its fences wait for its return.
    """
    rows = database.rows(
        "SELECT n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance"
        " WHERE a.Name = 'vm-container'"
        " UNION SELECT p.Name FROM vm_nodes v JOIN nodes p ON p.ID = v.PhysNode"
        " UNION SELECT Host FROM vm_leases WHERE Host IS NOT NULL"
        " UNION SELECT n.Name FROM vm_leases l JOIN nodes n ON n.Name = l.Target UNION"
        " SELECT n.Name FROM vm_fences f JOIN nodes n ON n.Name = f.Host ORDER BY 1"
    )
    return [str(name) for (name,) in rows]


def all_leases(database: Database) -> dict[str, Lease]:
    """Name in lower case → lease, also of machines that the database does not know any more."""
    rows = database.rows("SELECT Name, Token, Host, State, Reason, Target FROM vm_leases")
    return {str(row[0]).lower(): Lease(str(row[0]), int(row[1]), *row[2:]) for row in rows}


def all_machines(database: Database) -> dict[str, tuple[str, ...]]:
    """Virtual machine → the paths of its disks on its host."""
    rows = database.rows(
        "SELECT n.Name, d.Prefix, d.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " LEFT JOIN vm_disks d ON d.Vm_Node = v.ID ORDER BY n.ID, d.ID"
    )
    found: dict[str, tuple[str, ...]] = {}
    for name, prefix, disk in rows:
        path = Disk("", str(prefix or ""), str(disk or ""), "", "", 0).path
        found[str(name)] = found.get(str(name), ()) + ((path,) if path else ())
    return found


def containers_of_machines(database: Database) -> dict[str, str]:
    """Virtual machine → the host that the database places it on; empty for none."""
    rows = database.rows(
        "SELECT n.Name, p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " LEFT JOIN nodes p ON p.ID = v.PhysNode ORDER BY n.ID"
    )
    return {str(name): str(host or "") for name, host in rows}


def record_found(database: Database, found: Iterable[tuple[str, int, str]]) -> None:
    """Give hosts the leases of machines that run there: (name, token, host). A token only grows.

    They cover no disks then. The row gets the spelling of the name, which is that of the domain.
    """
    rows = [(name, token, host, RUNNING) for name, token, host in found]
    cover_disks(database, {name: () for name, *_ in rows})
    database.insert_many(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES",
        rows,
        "ON DUPLICATE KEY UPDATE Name = VALUES(Name), Token = GREATEST(Token, VALUES(Token)), Host = VALUES(Host),"
        " State = 'running', Reason = NULL, Target = NULL",
    )


def end_interrupted_starts(database: Database) -> None:
    """Let no start be continued under the lease of an interrupted one: its epoch is over."""
    database.execute("UPDATE vm_leases SET State = 'running' WHERE State = 'starting'")
