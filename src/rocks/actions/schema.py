"""Migrate the cluster database to the schema of these programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.migrate import MigrationReport, bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database


def update_database(database: Database, notify: Callable[[str], None]) -> MigrationReport:
    """Create or upgrade the schema; `notify` receives a line at each step. Errors as of `bring_up_to_date`.

    It uses its own connection, because definitions of tables are not part of a transaction.
    """
    return bring_up_to_date(database.settings, report=notify)
