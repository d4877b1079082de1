"""Privileges to read the cluster database: local users may read all tables except `sec_*`; root has all privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.connection import Database
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.settings import Settings

ALL_LOCAL_USERS = ""
"""The anonymous account of MariaDB. By unix_socket it admits every user of the machine under the user's own name only:
the server compares the name from the client with the name from the kernel."""

MOST_CONNECTIONS = 50
"""Of one account: all local users together, where they share the anonymous one. A server admits 151 by default."""

SECRET_TABLES = "sec\\_%"
"""LIKE pattern of the tables that only root may read."""


def grant_readers(settings: Settings, names: Iterable[str]) -> None:
    """Let these users of the machine (or `ALL_LOCAL_USERS`) read all but the secret tables, also new tables.

    Accounts that do not exist are made, for local connections by unix_socket. The errors of `Database`.
    """
    with Database(settings) as database:
        apply_grants(database, settings.database, sorted(set(names)))


def apply_grants(database: Database, schema: str, names: Sequence[str]) -> None:
    """As `grant_readers` over a connection of the caller: SELECT on tables and views, EXECUTE on routines."""
    if not names:
        return
    accounts = ", ".join(["%s@localhost"] * len(names))
    made = ", ".join(["%s@localhost IDENTIFIED VIA unix_socket"] * len(names))
    database.execute(f"CREATE USER IF NOT EXISTS {made}", names)
    database.execute(f"ALTER USER {accounts} WITH MAX_USER_CONNECTIONS {MOST_CONNECTIONS}", names)
    for (table,) in database.rows(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME NOT LIKE %s",
        (schema, SECRET_TABLES),
    ):
        database.execute(f"GRANT SELECT ON {quoted(schema)}.{quoted(table)} TO {accounts}", names)
    for kind, routine in database.rows(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
        (schema,),
    ):
        database.execute(f"GRANT EXECUTE ON {kind} {quoted(schema)}.{quoted(routine)} TO {accounts}", names)


def present_readers(database: Database, schema: str) -> list[str] | None:
    """Names of the local accounts that may read the schema; None without the privilege to look."""
    try:
        found = database.rows(
            "SELECT User FROM mysql.tables_priv WHERE Db = %s AND Table_name = 'schema_migrations'"
            " AND Host = 'localhost' ORDER BY User",
            (schema,),
        )
    except UserError:
        return None
    return [user for (user,) in found]


def quoted(name: str) -> str:
    """An identifier, quoted for a statement: identifiers cannot be bound values."""
    return "`" + name.replace("`", "``") + "`"
