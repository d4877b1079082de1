"""The named lock of each virtual machine: one command at a time changes it (decision 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

WAIT_SECONDS = 2.0


def lock_vms(database: Database, names: Sequence[str]) -> dict[str, BusyError]:
    """Lock the machines until the connection closes; the error of each that another command is changing."""
    try:
        database.lock_all([_lock_name(name) for name in names], WAIT_SECONDS)
        return {}
    except BusyError:
        pass  # find out below which of them are busy, so that the others go on
    busy = {}
    for name in names:
        try:
            database.lock_all([_lock_name(name)], 0)
        except BusyError:
            busy[name] = BusyError(
                f"another command is changing {name} at this moment; try again when it has ended (rocks list host vm "
                "lease shows what is being started or stopped)"
            )
    return busy


def unlock_vms(database: Database, names: Sequence[str]) -> None:
    """Unlock the machines; those that this connection has not locked are ignored."""
    database.unlock_all([_lock_name(name) for name in names])


def _lock_name(name: str) -> str:
    return f"vm {name.lower()}"
