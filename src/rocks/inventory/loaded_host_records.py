"""Hosts, physical and virtual, with their attributes, interfaces and mount points; always in sets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rocks.database.sets import among, in_order
from rocks.inventory.attributes.records import resolve_members
from rocks.inventory.attributes.rules import Member
from rocks.inventory.records import BootAction, Host, Interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.database.connection import Database

HOST_COLUMNS = (
    "n.Name, m.Name, a.Name, n.CPUs, n.Rack, n.Rank, n.RunAction, n.InstallAction,"
    " (SELECT b.Action FROM boot b WHERE b.Node = n.ID LIMIT 1), EXISTS (SELECT 1 FROM vm_nodes x WHERE x.Node = n.ID),"
    " (SELECT h.MB FROM host_memory h WHERE h.Host = n.ID)"
)
HOST_WIDTH = 11
"""The cells of `HOST_COLUMNS` in a row."""

HOST_JOINS = " LEFT JOIN memberships m ON m.ID = n.Membership LEFT JOIN appliances a ON a.ID = m.Appliance"


def load_hosts(database: Database, names: Sequence[str] | None) -> list[Host]:
    """The named hosts, physical or virtual, with their attributes but without interfaces, in the order of the names.

    None: all, in the database's order. Two statements for any number of hosts. Unknown names are omitted.
    """
    condition, values = among("n.Name", names)
    rows = database.rows(
        f"SELECT {HOST_COLUMNS}, n.OS, n.Arch FROM nodes n{HOST_JOINS}{condition} ORDER BY n.ID", values
    )
    if names is not None:
        rows = in_order(rows, names)
    attributes = resolve_members(database, [_member(row) for row in rows], are_all=names is None)
    return [
        host_of_row(row[:HOST_WIDTH], {key: found.value for key, found in attributes[str(row[0])].items()})
        for row in rows
    ]


def bare_hosts(database: Database, names: Sequence[str]) -> list[Host]:
    """The named hosts without attributes and interfaces, in the order of the database."""
    rows = database.rows(
        f"SELECT {HOST_COLUMNS} FROM nodes n{HOST_JOINS} WHERE n.Name IN %s ORDER BY n.ID",
        [names],
    )
    return [host_of_row(row) for row in rows]


def which_are_vms(database: Database, names: Sequence[str]) -> list[str]:
    """The names of virtual machines among the names, in their order."""
    rows = database.rows(
        "SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name IN %s",
        [names],
    )
    return [str(row[0]) for row in in_order(rows, names)]


def physical_hosts(database: Database) -> list[str]:
    """All physical hosts, in the database's order."""
    rows = database.rows(
        "SELECT n.Name FROM nodes n LEFT JOIN vm_nodes v ON v.Node = n.ID WHERE v.ID IS NULL ORDER BY n.ID"
    )
    return [str(row[0]) for row in rows]


def load_interfaces(database: Database, names: Sequence[str] | None) -> dict[str, tuple[Interface, ...]]:
    """Host → its interfaces in the database's order; an empty tuple for a named host without interfaces.

    None: of all hosts that have any.
    """
    found: defaultdict[str, list[Interface]] = defaultdict(list)
    condition, values = among("n.Name", names)
    rows = database.rows(
        "SELECT n.Name, i.Device, i.MAC, i.IP, i.Name, s.name, s.netmask, s.mtu, i.VlanID, i.Module,"
        " i.Options, i.Channel, i.Disable_KVM, i.ID FROM networks i JOIN nodes n ON n.ID = i.Node"
        f" LEFT JOIN subnets s ON s.ID = i.Subnet{condition} ORDER BY i.ID",
        values,
    )
    for row in rows:
        found[str(row[0])].append(Interface(*row))
    return {name: tuple(found[name]) for name in (list(found) if names is None else names)}


def load_boot_actions(database: Database, names: Iterable[str]) -> dict[str, BootAction]:
    """Boot action → its row; unknown names are omitted."""
    actions = sorted(set(names))
    rows = database.rows("SELECT Action, Kernel, Ramdisk, Args FROM bootaction WHERE Action IN %s", [actions])
    return {str(row[0]): BootAction(*row) for row in rows}


def mounts_of(database: Database, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Host → mount points of its partitions."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    rows = database.rows(
        "SELECT n.Name, p.Mountpoint FROM partitions p JOIN nodes n ON n.ID = p.Node"
        " WHERE p.Mountpoint LIKE '/%%' AND n.Name IN %s ORDER BY p.ID",
        [names],
    )
    for name, mount in rows:
        found[str(name)].append(str(mount))
    return {name: tuple(mounts) for name, mounts in found.items()}


def record_memory(database: Database, memory_mb: Mapping[str, int]) -> None:
    """Record what hosts have reported, in MB; one statement. Hosts that are not in the database are omitted."""
    if memory_mb:
        row = "SELECT ID, %s FROM nodes WHERE Name = %s"
        database.execute(
            f"INSERT INTO host_memory (Host, MB) {' UNION ALL '.join([row] * len(memory_mb))}"
            " ON DUPLICATE KEY UPDATE MB = VALUES(MB)",
            [value for host, memory in memory_mb.items() for value in (memory, host)],
        )


def host_of_row(row: Sequence[Any], attributes: Mapping[str, str] | None = None) -> Host:
    """The host of a row of `HOST_COLUMNS`."""
    name, membership, appliance, cpus, rack, rank, run_action, install_action, boot, is_virtual, memory = row
    return Host(
        name,
        membership or "",
        appliance or "",
        int(cpus),
        rack,
        rank,
        run_action,
        install_action,
        boot,
        attributes=attributes or {},
        is_virtual=bool(is_virtual),
        memory_mb=memory,
    )


def _member(row: Sequence[Any]) -> Member:
    name, membership, appliance, _, rack, rank, *_, os, arch = row
    return Member(
        *("" if cell is None else str(cell) for cell in (name, os, appliance, membership, rack, rank, arch))
    )
