"""Adapters with virtual functions: their number, their assignment to machines, and requests to hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.values import read_number
from rocks.fleet.wire.facts import AdapterSpec, AdaptersRequest
from rocks.inventory.host_requests import ask_each
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.network.guest_connections import kernel_device
from rocks.network.interfaces import find_rows
from rocks.network.sriov.function_choice import MAX_VFS, AdapterRow, AssignedVf, vfs_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import AdapterFact


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


def write_vfs(database: Database, interfaces: Sequence[int], count: int) -> None:
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


def record_assigned_vfs(database: Database, rows: Sequence[AssignedVf]) -> None:
    """Record the assignment of free VFs to machines.

    The caller has checked, under the lock of the hosts' adapters, that they are free.
    """
    database.insert_many(f"INSERT INTO sriov_leases ({_COLUMNS}) VALUES", [tuple(row) for row in rows])


# Set the number of virtual functions of an adapter, list them as hosts report them, and create them there.


def set_vfs(database: Database, hosts: Sequence[str], iface: str, vfs: str) -> None:
    """Record the number of virtual functions of the interface on each host; hosts are not contacted.

    UserError for an invalid number, a host without that interface, a virtual machine, or an interface that is not an
    adapter; StateError while a machine has a function that would be removed. Nothing is changed then.
    """
    number = read_number("functions", vfs, 0, MAX_VFS)
    for machine in which_are_vms(database, hosts):
        raise UserError(
            f"host {machine} is a virtual machine, and virtual functions belong to adapters of physical hosts; to "
            f"request one for {machine}: rocks set host interface options {machine} IFACE sriov"
        )
    rows = find_rows(database, hosts, iface)
    for row in rows:
        if not row.device or row.device.startswith("vlan"):
            raise UserError(
                f'interface "{iface}" of host {row.host} is not an adapter: name a physical device; rocks list host '
                f"interface {row.host} shows them"
            )
    adapters_of(database, hosts, lock=True)
    given = assigned_on(database, hosts)
    for row in rows:
        of_host = [one for one in given if one.host.lower() == row.host.lower()]
        for left in vfs_left(of_host, row.device or "", number):
            raise StateError(
                f"{left.name} may be using function {left.number} of {row.device} on {row.host}: stop it first (rocks "
                f"stop host vm {left.name}), or configure at least {left.number + 1}"
            )
    write_vfs(database, [row.id for row in rows], number)


LISTING_SECONDS = 20.0
"""How long a listing waits for a host."""

Answers = dict[str, tuple["AdapterFact", ...] | RocksError]
"""Host → its adapters, or its error."""


def ask_adapters(database: Database, hosts: Sequence[str]) -> Answers:
    """The adapters with virtual functions, as their hosts report them; nothing is changed."""
    return _ask(database, hosts, is_made=False, limit_seconds=LISTING_SECONDS)


def create_vfs(database: Database, hosts: Sequence[str]) -> Answers:
    """Configure the number of virtual functions in the database on the hosts; adapters that have it are unchanged."""
    return _ask(database, hosts, is_made=True, limit_seconds=None)


def _ask(database: Database, hosts: Sequence[str], *, is_made: bool, limit_seconds: float | None) -> Answers:
    specs: dict[str, list[AdapterSpec]] = {}
    for row in adapters_of(database, hosts):
        spec = AdapterSpec(kernel_device(row.device, row.options), row.vfs if is_made else 0)
        specs.setdefault(row.host, []).append(spec)
    database.commit()
    requests = {host: AdaptersRequest(tuple(specs[host])) for host in sorted(specs)}
    return {
        host: answer if isinstance(answer, RocksError) else answer.adapters
        for host, answer in ask_each(database, requests, limit_seconds)
    }
