"""Puts the content of a copy in the place of the database's, in one transaction.

The copy is loaded into a database beside it and migrated there. Then both have the same tables, and the rows are
exchanged by one transaction, which leaves the old content or the new at every moment. Leases with what they have of
their hosts, fences and accepted requests of owners are never deleted: those that are there stay, and those of the copy
are added. An audit log that has begun stays, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.database.backup import load_copy
from rocks.database.connection import Database
from rocks.database.driver import run_once
from rocks.database.migrate import bring_up_to_date, read_version
from rocks.database.versions import newest_version
from rocks.leases import lease as leases
from rocks.leases.lease import count_restore
from rocks.trust.audit import copy_entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from rocks.database.settings import Settings

_ADDED = ("vm_leases", "vm_lease_disks", "vm_fences", *leases.PARTS, "airboss_nonces", "airboss_past_hours")
_LOG = ("sec_audit", "sec_audit_head")
"""A chain of entries that are never removed: that of the copy is taken where there is none yet."""
_UNTOUCHED = ("schema_migrations",)


class Loaded(NamedTuple):
    """A copy in a database of its own, with the schema of these programs, and tables of it that there are not here."""

    name: str
    tables: tuple[str, ...]
    unknown: tuple[str, ...]


def load_beside(settings: Settings, sql: BinaryIO, folder: Path, report: Callable[[str], None]) -> Loaded:
    """Load a copy, a file with SQL, beside the database. StateError for a schema newer than these programs'."""
    beside = settings._replace(database=f"{settings.database}_restored")
    load_copy(beside, sql)
    found = read_version(beside)
    if found > newest_version():
        raise StateError(
            f"the saved site has a database of version {found}, these programs know {newest_version()}: install newer "
            "programs on this machine"
        )
    if found < newest_version():
        bring_up_to_date(beside, folder, report=report)
    present, copied = _tables(settings, settings.database), _tables(settings, beside.database)
    both = tuple(table for table in copied if table in present and table not in _UNTOUCHED)
    return Loaded(beside.database, both, tuple(table for table in copied if table not in present))


def exchange_rows(database: Database, loaded: Loaded) -> tuple[str, ...]:
    """Give the tables the rows of the copy, in the caller's transaction; returns those that keep their own."""
    preserved = _LOG if database.rows("SELECT 1 FROM sec_audit LIMIT 1") else ()
    database.execute("SET SESSION foreign_key_checks = 0")
    for table in loaded.tables:
        if table in preserved:
            continue
        if table == "sec_audit":
            with Database(database.settings._replace(database=loaded.name)) as copy:
                copy_entries(database, copy)
            continue
        columns = ", ".join(f"`{name}`" for name in _columns(database, table, table not in _ADDED))
        insert = "INSERT IGNORE" if table in _ADDED else "INSERT"
        if table not in _ADDED:
            database.execute(f"DELETE FROM `{table}`")
        database.execute(
            f"{insert} INTO `{table}` ({columns}) SELECT {columns} FROM `{loaded.name}`.`{table}`"
        )
    leases.free_released_parts(database)
    count_restore(database)
    database.execute("SET SESSION foreign_key_checks = 1")
    return preserved


def drop_beside(settings: Settings) -> None:
    """Remove the database of a copy, also one that a killed restore has left."""
    run_once(settings, f"DROP DATABASE IF EXISTS {settings.database}_restored")


def _tables(settings: Settings, name: str) -> list[str]:
    rows = run_once(
        settings,
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'"
        " ORDER BY 1",
        (name,),
    )
    return [str(row[0]) for row in rows]


def _columns(database: Database, table: str, with_row_numbers: bool) -> list[str]:
    """The columns that are stored, not computed.

    Rows that are added get new numbers: those of the copy may be in use here, by rows of something else.
    """
    return [
        str(name)
        for (name,) in database.rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
            " AND COALESCE(GENERATION_EXPRESSION, '') = '' AND (%s OR EXTRA <> 'auto_increment')"
            " ORDER BY ORDINAL_POSITION",
            (table, with_row_numbers),
        )
    ]
