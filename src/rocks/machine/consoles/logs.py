"""Logs of the serial consoles of removed machines: removed on the hosts, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.database.sets import placeholders
from rocks.fleet.wire.consoles import CONSOLE_LOG_FOLDER, RemoveConsoleLogsRequest
from rocks.inventory.host_requests import ask_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine


def remove_console_logs(
    database: Database, machines: Sequence[VirtualMachine], places: Mapping[str, str | None]
) -> list[str]:
    """Remove them on present and former containers, and on the hosts that had the leases.

    Returns a warning for each host where they stay.
    """
    found: dict[str, dict[str, None]] = {}
    former = _former_hosts(database, [vm.name for vm in machines])
    for vm in machines:
        container = vm.container.name if vm.container is not None else None
        for host in (container, places.get(vm.name), *former.get(vm.name, ())):
            if host is not None and vm.uuid:
                found.setdefault(host, {})[vm.uuid] = None
    if not found:
        return []
    database.commit()
    requests = {host: RemoveConsoleLogsRequest(tuple(uuids)) for host, uuids in found.items()}
    return [
        f"logs of consoles in {CONSOLE_LOG_FOLDER} of {host} stay: {answer}"
        for host, answer in ask_each(database, requests)
        if isinstance(answer, RocksError)
    ]


def _former_hosts(database: Database, names: Sequence[str]) -> dict[str, list[str]]:
    """Machine → the hosts on which it was placed before."""
    found: dict[str, list[str]] = {}
    if names:
        rows = database.rows(
            "SELECT n.Name, h.Name FROM vm_former_hosts f JOIN nodes h ON h.ID = f.Host JOIN vm_nodes v"
            f" ON v.ID = f.Vm_Node JOIN nodes n ON n.ID = v.Node WHERE n.Name IN ({placeholders(names)})",
            names,
        )
        for machine, host in rows:
            found.setdefault(str(machine), []).append(str(host))
    return found
