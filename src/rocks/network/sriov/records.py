"""Virtual functions: their number for each adapter, and their assignment to machines; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.network.sriov.function_choice import AdapterRow, AssignedVf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_COLUMNS = "Host, Device, Number, Name, MAC, Token"


def adapters_of(database: Database, hosts: Sequence[str], lock: bool = False) -> list[AdapterRow]:
    """The adapters of the hosts with VFs, in the database's order; `lock` locks the rows."""
    rows = database.rows(
        "SELECT n.Name, i.Device, a.Functions, i.Options FROM sriov_adapters a JOIN networks i ON i.ID = a.Interface"
        " JOIN nodes n ON n.ID = i.Node WHERE n.Name IN %s ORDER BY n.ID, i.ID"
        + (" FOR UPDATE" if lock else ""),
        [hosts],
    )
    return [AdapterRow(str(row[0]), str(row[1] or ""), int(row[2]), str(row[3] or "")) for row in rows]


def assigned_on(database: Database, hosts: Sequence[str]) -> list[AssignedVf]:
    """All assigned VFs of the hosts, in order."""
    rows = database.rows(
        f"SELECT {_COLUMNS} FROM sriov_leases WHERE Host IN %s ORDER BY Host, Device, Number",
        [hosts],
    )
    return [AssignedVf(*row) for row in rows]


def set_vfs(database: Database, interfaces: Sequence[int], count: int) -> None:
    """Set the number of VFs of the adapters with these interfaces (IDs)."""
    if not interfaces:
        return
    if not count:
        database.execute("DELETE FROM sriov_adapters WHERE Interface IN %s", [interfaces])
        return
    database.insert_many(
        "INSERT INTO sriov_adapters (Interface, Functions) VALUES",
        [(interface, count) for interface in interfaces],
        "ON DUPLICATE KEY UPDATE Functions = VALUES(Functions)",
    )


def assign_vfs(database: Database, rows: Sequence[AssignedVf]) -> None:
    """Record the assignment of free VFs to machines.

    The caller has checked, under the lock of the hosts' adapters, that they are free.
    """
    database.insert_many(f"INSERT INTO sriov_leases ({_COLUMNS}) VALUES", [tuple(row) for row in rows])
