"""What profiles did on hosts, as the commands that run them print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rocks.commands
    from rocks.install.profile_sync import SyncedProfile


def show_profile(command: rocks.commands.Command, host: str, outcome: SyncedProfile) -> None:
    """Print the changes of a host, what remains to be done there, and what it printed before its error."""
    for change in outcome.changes:
        command.showLine(f"{host}: {change}")
    for warning in outcome.warnings:
        command.notify(f"Warning: {host}: {warning}")
    for line in outcome.printed:
        command.notify(f"{host}: {line}")
