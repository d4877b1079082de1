"""Logs of the serial consoles of removed machines: removed on the hosts, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.fleet.wire.consoles import CONSOLE_LOG_FOLDER, RemoveConsoleLogsRequest
from rocks.inventory.host_requests import ask_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine


def remove_console_logs(
    database: Database, machines: Sequence[VirtualMachine], places: Mapping[str, str | None]
) -> list[str]:
    """Remove them on the containers, and on the hosts that had the leases; a warning for each host where they stay."""
    found: dict[str, dict[str, None]] = {}
    for vm in machines:
        container = vm.container.name if vm.container is not None else None
        for host in (container, places.get(vm.name)):
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
