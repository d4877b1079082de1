"""What commands print after the names of the site were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.network.dns.changes import hosts_file

if TYPE_CHECKING:
    from rocks.commands import Command
    from rocks.network.dns.service import SyncedNames


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
