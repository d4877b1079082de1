"""Leases of cores, of memory on NUMA nodes and of PCI devices of hosts; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.leases.lease import PLACEMENTS
from rocks.machine.placement import CoreRow, DeviceRow, PageRow, ShapeLeases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


_CORES = "Host, Cpu, Name, Token"
_PAGES = "Host, Node, Size_KB, Pages, Name, Token"
_DEVICES = "Host, Address, Pool, Name, Token"


def lock_hosts(database: Database, hosts: Sequence[str]) -> None:
    """Until the end of the transaction no other command decides on leases of these hosts.

    In order, so that two commands never wait for each other.
    """
    for host in sorted({host.lower() for host in hosts}):
        database.execute(
            "INSERT INTO vm_shape_hosts (Host) VALUES (%s) ON DUPLICATE KEY UPDATE Host = VALUES(Host)",
            (host,),
        )


def leases_on(database: Database, hosts: Sequence[str]) -> ShapeLeases:
    """All leases of the hosts, in order."""
    return _leases(database, "WHERE Host IN %s", [hosts])


def has_any(database: Database, name: str) -> bool:
    """Whether a machine has cores, memory of NUMA nodes or devices of a host."""
    queries = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE Name = %s" for table in PLACEMENTS)
    return bool(database.rows(f"{queries} LIMIT 1", [name] * len(PLACEMENTS)))


def all_leases(database: Database) -> ShapeLeases:
    """All leases of the site, in order."""
    return _leases(database, "", ())


def _leases(database: Database, where: str, values: Sequence[Sequence[str]]) -> ShapeLeases:
    cores = database.rows(f"SELECT {_CORES} FROM vm_core_leases {where} ORDER BY Host, Cpu", values)
    pages = database.rows(
        f"SELECT {_PAGES} FROM vm_page_leases {where} ORDER BY Host, Node, Size_KB, Name", values
    )
    devices = database.rows(f"SELECT {_DEVICES} FROM vm_device_leases {where} ORDER BY Host, Address", values)
    return ShapeLeases(
        tuple(CoreRow(*row) for row in cores),
        tuple(PageRow(*row) for row in pages),
        tuple(DeviceRow(*row) for row in devices),
    )


def replace_leases(database: Database, claimants: Sequence[tuple[str, int]], leases: ShapeLeases) -> None:
    """Replace the leases of the machines (name, token) by these.

    The caller has checked, under the lock of the hosts, that what they lease is free.
    """
    for table in PLACEMENTS:
        database.execute(f"DELETE FROM {table} WHERE (Name, Token) IN %s", [claimants])
    for table, columns, rows in (
        ("vm_core_leases", _CORES, leases.cores),
        ("vm_page_leases", _PAGES, leases.pages),
        ("vm_device_leases", _DEVICES, leases.devices),
    ):
        database.insert_many(f"INSERT INTO {table} ({columns}) VALUES", [tuple(row) for row in rows])
