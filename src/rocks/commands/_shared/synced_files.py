"""What commands print while they write files on hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import which_are_vms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.commands import Command


def other_hosts(command: Command, args: Sequence[str]) -> list[str]:
    """The named hosts; without names, all managed hosts but virtual machines and this machine."""
    names = command.getHostnames(args, managed_only=True)
    if args:
        return names
    left_out = {name.lower() for name in which_are_vms(command.db, names)} | {
        (find_local_host(command.db) or "").lower()
    }
    return [name for name in names if name.lower() not in left_out]


def show_hosts(command: Command, outcomes: Iterable[tuple[str, bool | RocksError]], changed: str) -> None:
    """Print a line for each host that changed, and each error; set the exit status."""
    failures: dict[str, RocksError] = {}
    tried = 0
    for host, outcome in outcomes:
        tried += 1
        if isinstance(outcome, RocksError):
            failures[host] = outcome
        elif outcome:
            command.showLine(f"{host}: {changed}")
    command.endOutcomes(failures, tried)
