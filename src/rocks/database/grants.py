"""Privileges to read the cluster database: local users may read all tables except `sec_*`; root has all privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import ToolError, UserError
from rocks.database.blockers import READERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

ALL_LOCAL_USERS = ""
"""The anonymous account of MariaDB. By unix_socket it admits every user of the machine under the user's own name only:
the server compares the name from the client with the name from the kernel."""

MAX_CONNECTIONS = 50
"""Of one account: all local users together, where they share the anonymous one. A server admits 151 by default."""

LONGEST_READ_SECONDS = 60
"""After which a reader's statement is ended."""

_LOOK_SECONDS = 5
_EVENT = "end_long_reads"

SECRET_TABLES = "sec\\_%"
"""LIKE pattern of the tables that only root may read."""


def apply_grants(database: Database, schema: str, names: Sequence[str]) -> None:
    """Let these users of the machine (or `ALL_LOCAL_USERS`) read all but the secret tables.

    That is SELECT on tables and views, EXECUTE on routines. Accounts that do not exist are made, for local connections
    by unix_socket. The errors of `Database`.
    """
    if not names:
        return
    accounts = ", ".join(["%s@localhost"] * len(names))
    made = ", ".join(["%s@localhost IDENTIFIED VIA unix_socket"] * len(names))
    database.execute(f"CREATE USER IF NOT EXISTS {made}", names)
    limits = f"MAX_USER_CONNECTIONS {MAX_CONNECTIONS} MAX_STATEMENT_TIME {LONGEST_READ_SECONDS}"
    database.execute(f"ALTER USER {accounts} WITH {limits}", names)
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


def bound_reads(database: Database, schema: str) -> bool:
    """Have the server end each reader whose statement takes longer than `LONGEST_READ_SECONDS`.

    `MAX_STATEMENT_TIME` of an account is only what its sessions begin with: MariaDB 10.11 lets a session set it to 0.
    An event of the server looks every few seconds, and a session cannot change it. False without the privilege. After
    a restart of the server the event is at work when its settings have `event_scheduler=ON`.
    """
    body = (
        "FOR reader IN (" + READERS + " AND p.COMMAND IN ('Query', 'Execute')"
        f" AND p.TIME_MS > {LONGEST_READ_SECONDS * 1000})"
        " DO BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;"  # it has just ended by itself
        " KILL HARD CONNECTION reader.ID; END; END FOR"
    )
    event = f"{quoted(schema)}.{quoted(_EVENT)}"
    try:
        database.execute("SET GLOBAL event_scheduler = ON")
        database.execute(
            f"CREATE OR REPLACE EVENT {event} ON SCHEDULE EVERY {_LOOK_SECONDS} SECOND"
            f" COMMENT 'ends statements of readers after {LONGEST_READ_SECONDS} s'"
            f" DO BEGIN NOT ATOMIC {body}; END"
        )
    except (UserError, ToolError):
        return False
    return True


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
