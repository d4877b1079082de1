"""What a command does after its change is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command


def sync_config_after(command: Command) -> None:
    """Store the change, then have the frontend's services read it; a failure of that is a warning with what to run."""
    command.db.commit()
    try:
        command.command("sync.config")
    except RocksError as error:
        command.notify(f"Warning: the change is stored, and rocks sync config failed: {error}")
