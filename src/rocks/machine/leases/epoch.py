"""After a restore of the cluster database every host is asked what runs there, before anything starts (decision 31)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.machine.leases.epoch_records import is_current

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database


def ensure_epoch(database: Database, notify: Callable[[str], None]) -> None:
    """Return when leases may be granted; commits. One statement unless the database was restored or is new here.

    StateError when a host that must be asked does not answer; it names the hosts and what to run.
    """
    if not is_current(database):
        from rocks.machine.leases.comparison import (
            compare_leases,
        )  # late: for the first start after a restore

        compare_leases(database, notify, only_when_due=True)


def try_epoch(database: Database) -> str | None:
    """As `ensure_epoch` before a stop, which goes on without it: None, or a warning with the reason."""
    try:
        ensure_epoch(database, lambda line: None)
    except RocksError as error:
        return f"machines may run on other hosts than the cluster database records: {error}"
    return None
