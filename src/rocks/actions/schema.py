"""Bring the cluster database to the schema of these programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.migrate import MigrationReport, bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database


def update_database(database: Database, notify: Callable[[str], None]) -> MigrationReport:
    """Create the schema or upgrade it; `notify` gets a line at each step. Errors as of `bring_up_to_date`.

    It works over a connection of its own: a definition of a table is no part of a transaction.
    """
    return bring_up_to_date(database.settings, report=notify)
