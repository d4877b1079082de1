"""Rows of `vm_disk_copies`: files on hosts that bear a machine's UUID, but are not its disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_OF_MACHINE = "(SELECT v.ID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s)"
_HOST = "(SELECT ID FROM nodes WHERE Name = %s)"


class DiskCopy(NamedTuple):
    """A file on a host."""

    host: str
    path: str


def read_copies(database: Database, machine: str) -> list[DiskCopy]:
    """The copies of the machine's disks, by host and path."""
    rows = database.rows(
        "SELECT h.Name, c.Path FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        f" WHERE c.Vm_Node = {_OF_MACHINE} ORDER BY h.Name, c.Path",
        [machine],
    )
    return [DiskCopy(str(host), str(path)) for host, path in rows]


def copies_of_all(database: Database, machines: Sequence[str]) -> dict[str, list[DiskCopy]]:
    """Machine → the copies of its disks; machines without copies are left out."""
    rows = database.rows(
        "SELECT n.Name, h.Name, c.Path FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host"
        " JOIN vm_nodes v ON v.ID = c.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE n.Name IN %s ORDER BY n.Name, h.Name, c.Path",
        [machines],
    )
    found: dict[str, list[DiskCopy]] = {}
    for machine, host, path in rows:
        found.setdefault(str(machine), []).append(DiskCopy(str(host), str(path)))
    return found


def put_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """Record them; one that is recorded stays."""
    if copies:
        row = f"({_OF_MACHINE}, {_HOST}, %s)"
        database.execute(
            f"INSERT IGNORE INTO vm_disk_copies (Vm_Node, Host, Path) VALUES {', '.join([row] * len(copies))}",
            [cell for copy in copies for cell in (machine, *copy)],
        )


class Doubt(NamedTuple):
    """A machine, its host, and the host whose copies may be its current disks."""

    machine: str
    host: str | None
    doubted_host: str


def doubts(database: Database) -> list[Doubt]:
    """The machines whose current disks may be on another host, by name."""
    rows = database.rows(
        "SELECT DISTINCT n.Name, p.Name, c.Name FROM vm_disk_copies d JOIN nodes c ON c.ID = d.Host"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE d.May_Be_Current ORDER BY n.Name"
    )
    return [Doubt(str(name), host, str(doubted)) for name, host, doubted in rows]


def doubt_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """Record that these copies, which are all of one host, and the others there may be the current disks."""
    put_copies(database, machine, copies)
    for host in {copy.host for copy in copies}:
        database.execute(
            f"UPDATE vm_disk_copies SET May_Be_Current = TRUE WHERE Vm_Node = {_OF_MACHINE} AND Host = {_HOST}",
            [machine, host],
        )


def end_doubt(database: Database, machine: str) -> None:
    """The copies of the machine are copies: its disks are the current ones."""
    database.execute(
        f"UPDATE vm_disk_copies SET May_Be_Current = FALSE WHERE Vm_Node = {_OF_MACHINE}", [machine]
    )


def delete_copies(database: Database, machine: str, copies: Sequence[DiskCopy]) -> None:
    """They are removed, or are the disks now."""
    for host in dict.fromkeys(copy.host for copy in copies):
        paths = [copy.path for copy in copies if copy.host == host]
        database.execute(
            f"DELETE FROM vm_disk_copies WHERE Vm_Node = {_OF_MACHINE} AND Host = {_HOST} AND Path IN %s",
            [machine, host, paths],
        )


def forget_copy(database: Database, host: str, path: str) -> None:
    """The file is removed, whichever machine it belonged to."""
    database.execute(f"DELETE FROM vm_disk_copies WHERE Host = {_HOST} AND Path = %s", [host, path])
