"""Migrate the cluster database to the schema of these programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.migrate import MigrationReport, bring_up_to_date
from rocks.trust.audit import repair_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database


def update_database(
    database: Database, notify: Callable[[str], None], always_copy: bool = False
) -> MigrationReport:
    """Create or upgrade the schema; `notify` receives a line at each step. Errors as of `bring_up_to_date`.

    With `always_copy`, a database with a schema is copied first even if the schema is current.

    It uses its own connection, because definitions of tables are not part of a transaction. A damaged audit log is
    repaired, so that changes are possible again.
    """
    done = bring_up_to_date(database.settings, report=notify, always_copy=always_copy)
    damage = repair_log(database)
    if damage:
        notify(
            f"repaired: {damage}; compare the log with the journal: rocks check audit, journalctl -t rocksaudit"
        )
    return done
