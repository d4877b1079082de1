"""Virtual functions (SR-IOV): how many an adapter offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.values import read_number
from rocks.fleet.wire.facts import AdapterSpec, AdaptersRequest
from rocks.inventory.host_requests import ask_each
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.network.guest_connections import kernel_device
from rocks.network.interfaces import find_rows
from rocks.network.sriov import records as table
from rocks.network.sriov.function_choice import MAX_VFS, vfs_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import AdapterFact


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
    table.adapters_of(database, hosts, lock=True)
    given = table.assigned_on(database, hosts)
    for row in rows:
        of_host = [one for one in given if one.host.lower() == row.host.lower()]
        for left in vfs_left(of_host, row.device or "", number):
            raise StateError(
                f"{left.name} may be using function {left.number} of {row.device} on {row.host}: stop it first (rocks "
                f"stop host vm {left.name}), or configure at least {left.number + 1}"
            )
    table.set_vfs(database, [row.id for row in rows], number)


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
    for row in table.adapters_of(database, hosts):
        spec = AdapterSpec(kernel_device(row.device, row.options), row.vfs if is_made else 0)
        specs.setdefault(row.host, []).append(spec)
    database.commit()
    requests = {host: AdaptersRequest(tuple(specs[host])) for host in sorted(specs)}
    return {
        host: answer if isinstance(answer, RocksError) else answer.adapters
        for host, answer in ask_each(database, requests, limit_seconds)
    }
