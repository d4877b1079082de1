"""The named lock of each virtual machine: one command at a time changes it (decision 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import BusyError, RocksError
from rocks.leases import records as leases
from rocks.leases.plan import MOVING, move_was_interrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease

LOCK_WAIT_SECONDS = 2.0
"""How long a command waits for another one that changes the same machine, volume or image."""


def lock_vms(database: Database, names: Sequence[str], *, also_moving: bool = False) -> dict[str, RocksError]:
    """Lock the machines until the connection closes; the error of each that another command is changing.

    So of each whose live migration was interrupted, unless `also_moving`: two hosts may have it.
    """
    busy: dict[str, RocksError] = dict(_lock(database, names))
    if not also_moving:
        for lease in leases.read_leases(database, names).values():
            if lease.state == MOVING:
                name = next(name for name in names if name.lower() == lease.name.lower())
                busy.setdefault(name, move_was_interrupted(lease))
        database.end_reading()
    return busy


def ensure_locked(database: Database, names: Sequence[str], *, also_moving: bool = False) -> None:
    """As `lock_vms`; the error of the first machine that is not locked."""
    for error in lock_vms(database, names, also_moving=also_moving).values():
        raise error


def check_not_moving(database: Database, found: Iterable[Lease]) -> None:
    """Raise the error of the first of the leases whose machine is moving to another host; one that moves is locked.

    StateError after an interrupted migration, BusyError while a command is at work on it.
    """
    moving = [lease.name for lease in found if lease.state == MOVING]
    if moving:
        ensure_locked(database, moving)


def _lock(database: Database, names: Sequence[str]) -> dict[str, BusyError]:
    try:
        database.lock_all([_lock_name(name) for name in names], LOCK_WAIT_SECONDS)
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
