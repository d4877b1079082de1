"""Commands that write what the database has, here and on hosts: which hosts, and what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.network.dns.changes import hosts_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.commands import Command
    from rocks.install.profile_sync import SyncedProfile
    from rocks.network.dns.service import SyncedNames


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


def show_synced(command: Command, synced: SyncedNames) -> None:
    """Print the files that changed, and notes about names that were left out."""
    for problem in synced.problems:
        command.notify(problem)
    if synced.hosts_file:
        command.showLine(f"changed: {hosts_file()}")
    for name in synced.files:
        command.showLine(f"changed: {name}")
    if synced.files and not synced.runs:
        command.notify(
            "named does not run: systemctl start rocks-dns; journalctl -u rocks-dns says why it ended"
        )


def show_profile(command: Command, host: str, outcome: SyncedProfile) -> None:
    """Print the changes of a host, what remains to be done there, and what it printed before its error."""
    for change in outcome.changes:
        command.showLine(f"{host}: {change}")
    for warning in outcome.warnings:
        command.notify(f"Warning: {host}: {warning}")
    for line in outcome.printed:
        command.notify(f"{host}: {line}")
