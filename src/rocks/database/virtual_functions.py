"""Virtual functions: how many each adapter gives, and which machine has which; always in whole sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.vf_plan import AdapterRow, AssignedVf
from rocks.database.sets import marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_COLUMNS = "Host, Device, Number, Name, MAC, Token"


def adapters_of(database: Database, hosts: Sequence[str], lock: bool = False) -> list[AdapterRow]:
    """The adapters of the hosts that give functions, in the database's order; `lock` holds the rows."""
    if not hosts:
        return []
    rows = database.rows(
        "SELECT n.Name, i.Device, a.Functions, i.Options FROM sriov_adapters a JOIN networks i ON i.ID = a.Interface"
        f" JOIN nodes n ON n.ID = i.Node WHERE n.Name IN ({marks(hosts)}) ORDER BY n.ID, i.ID"
        + (" FOR UPDATE" if lock else ""),
        hosts,
    )
    return [AdapterRow(str(row[0]), str(row[1] or ""), int(row[2]), str(row[3] or "")) for row in rows]


def given_on(database: Database, hosts: Sequence[str]) -> list[AssignedVf]:
    """All functions that are given on the hosts, in order."""
    if not hosts:
        return []
    rows = database.rows(
        f"SELECT {_COLUMNS} FROM sriov_leases WHERE Host IN ({marks(hosts)}) ORDER BY Host, Device, Number",
        hosts,
    )
    return [AssignedVf(*row) for row in rows]


def set_vfs(database: Database, interfaces: Sequence[int], functions: int) -> None:
    """Have the adapters behind these interfaces (IDs) give so many functions; 0: they give none."""
    if not interfaces:
        return
    if not functions:
        database.execute(f"DELETE FROM sriov_adapters WHERE Interface IN ({marks(interfaces)})", interfaces)
        return
    database.insert_many(
        "INSERT INTO sriov_adapters (Interface, Functions) VALUES",
        [(interface, functions) for interface in interfaces],
        "ON DUPLICATE KEY UPDATE Functions = VALUES(Functions)",
    )


def assign_vfs(database: Database, rows: Sequence[AssignedVf]) -> None:
    """Record that these functions, which nobody has, are the machines'.

    The caller has seen that under the lock of the hosts' adapters.
    """
    database.insert_many(f"INSERT INTO sriov_leases ({_COLUMNS}) VALUES", [tuple(row) for row in rows])


def free_vfs(database: Database, names: Sequence[str]) -> None:
    """These machines run nowhere: their functions are nobody's, but those that a host still owes behind a fence.

    A lease that was taken from a silent host by force is free; the function there is not until the host has said that
    the old domain is gone (`free_fenced`).
    """
    if names:
        database.execute(
            "DELETE s FROM sriov_leases s LEFT JOIN vm_fences f ON f.Host = s.Host AND f.Name = s.Name"
            f" WHERE f.Name IS NULL AND s.Name IN ({marks(names)})",
            names,
        )


def free_fenced(database: Database, host: str, names: Sequence[str]) -> None:
    """The host has said that nothing older than the fences is left of these machines; to be called before they go."""
    if names:
        database.execute(
            "DELETE s FROM sriov_leases s JOIN vm_fences f ON f.Host = s.Host AND f.Name = s.Name"
            f" WHERE s.Token < f.Token AND f.Host = %s AND f.Name IN ({marks(names)})",
            [host, *names],
        )
