"""Numbered migrations: they bring the schema to the version of these programs, also after interruptions.

The server commits each definition of a table at once, so a migration is not a transaction. Therefore each statement
can be repeated (IF NOT EXISTS, OR REPLACE), and `schema_migrations` records how many were done: the next run continues
a killed one. Rows and the record that they were written are one transaction.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import BugError, IncoherentError, StateError
from rocks.database import driver, grants, versions
from rocks.database.backup import BACKUP_FOLDER, copy_database, restore_command
from rocks.database.connection import Database
from rocks.database.settings import EMBEDDED_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.driver import Connection, Cursor
    from rocks.database.settings import Settings

STATEMENT_SECONDS = 3600
"""How long one statement of a migration may take: it may rewrite a large table."""

OTHER_RUN_SECONDS = 60.0
"""How long a run waits for the end of another run."""

_JOURNAL = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  Version INT NOT NULL PRIMARY KEY,
  Name VARCHAR(128) NOT NULL,
  Digest CHAR(64) NOT NULL,
  Done INT NOT NULL DEFAULT 0,
  Finished TIMESTAMP NULL DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci
"""
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")

_TOKEN = re.compile(
    r"""
      (?P<comment> --(?=\s)[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*` )
    | (?P<delimiter> ^[ \t]*DELIMITER[ \t]+(?P<token>\S+)[ \t]*$ )
    | (?P<plain> [\w ,().=]+ )
    | (?P<other> [^'"`/] | /(?!\*) )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


class Migration(NamedTuple):
    """A migration: number (from 1), title, statements in order, digest of the file."""

    version: int
    name: str
    statements: tuple[str, ...]
    digest: str


class MigrationReport(NamedTuple):
    """Versions before and after (0: no schema), and the path of the copy made before, if any."""

    before: int
    after: int
    copy_path: Path | None


class _AnySchema(Database):
    """A connection that checks neither the schema's version nor the existence of the database."""

    def _open(self) -> Connection[Cursor]:
        return driver.open_connection(self.settings, None, STATEMENT_SECONDS)


def load_migrations(folder: Path | str = versions.MIGRATIONS_FOLDER) -> list[Migration]:
    """The migrations of a folder in order. BugError for a wrong file name, a gap or a truncated file."""
    migrations = []
    for number, path in enumerate(sorted(Path(folder).iterdir()), 1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise BugError(
                f"{path} is not migration {number:04}: the installation is incomplete; please report this"
            )
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        migrations.append(
            Migration(number, match[2].replace("_", " "), tuple(split_statements(text)), digest)
        )
    return migrations


def read_version(settings: Settings) -> int:
    """The schema's version now, 0 when there is none. HostError when the server does not answer."""
    with _AnySchema(settings) as database:
        return _read_version(database, settings.database)


def bring_up_to_date(
    settings: Settings,
    backup_folder: Path = BACKUP_FOLDER,
    report: Callable[[str], None] = lambda line: None,
    migrations: Sequence[Migration] | None = None,
    readers: Sequence[str] | None = None,
    always_copy: bool = False,
) -> MigrationReport:
    """Make the database if absent, bring its schema to the newest version, and renew the privileges to read it.

    A copy of a schema that is not empty is made in `backup_folder` before the first change; with `always_copy` also
    if there is nothing to change. `report` receives a
    line at each step. `migrations` None: those of these programs. `readers`: the local users that may read;
    None means all local users on the embedded instance, and elsewhere those that could read before.

    StateError, with nothing changed, for a schema newer than the migrations or a foreign database; BusyError
    during another run; IncoherentError when an unfinished migration differs from that of these programs. After
    a kill at any point, the next run continues.
    """
    steps = load_migrations() if migrations is None else list(migrations)
    with _AnySchema(settings) as database:
        database.lock("migrations", OTHER_RUN_SECONDS)
        result = _migrate(database, settings, steps, backup_folder, report, always_copy)
        _renew_grants(database, settings, readers, report)
    return result


def _migrate(
    database: Database,
    settings: Settings,
    steps: Sequence[Migration],
    backup_folder: Path,
    report: Callable[[str], None],
    always_copy: bool,
) -> MigrationReport:
    newest = steps[-1].version if steps else 0
    before = _read_version(database, settings.database)
    report(
        f"database {settings.database} at {settings.place}: schema version {before}, newest version {newest}"
    )
    if before > newest:
        raise versions.wrong_version(settings.database, before, newest)
    if before == newest and not always_copy:
        return MigrationReport(before, before, None)
    _enter(database, settings.database)
    started = _read_started(database)
    _check_no_foreign_tables(database, settings.database, before, started)
    _check_unchanged(steps, started)
    copy_path = None
    if before > 0:
        moment = database.rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(3), '%Y%m%dT%H%i%s.%fZ')")[0][0]
        name = f"{settings.database}-version-{before}-{moment}.sql"
        copy_path = copy_database(settings, backup_folder, name)
        report(f"copy of the database{' before the upgrade' if before < newest else ''}: {copy_path}")
        report(f"to restore it: {restore_command(settings, copy_path)}")
    for step in steps[before:]:
        report(f"migration {step.version:04} {step.name}: {len(step.statements)} statements")
        _perform(database, step, started.get(step.version, (0, step.digest))[0])
    if before < newest:
        report(f"database {settings.database}: schema version {newest}")
    return MigrationReport(before, newest, copy_path)


def _read_version(database: Database, schema: str) -> int:
    has_migrations_table = database.rows(
        "SELECT 1 FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'schema_migrations'",
        (schema,),
    )
    if not has_migrations_table:
        return 0
    database.execute(f"USE {grants.quoted(schema)}")
    return int(database.rows(versions.READ_VERSION)[0][0])


def _enter(database: Database, schema: str) -> None:
    """Make the database if absent, with case-insensitive collation, and select it."""
    database.execute(
        f"CREATE DATABASE IF NOT EXISTS {grants.quoted(schema)}"
        f" CHARACTER SET {driver.CHARACTER_SET} COLLATE {driver.COLLATION}"
    )
    database.execute(f"USE {grants.quoted(schema)}")


def _read_started(database: Database) -> dict[int, tuple[int, str]]:
    """Unfinished migrations: version → number of executed statements, digest of the file."""
    if not database.rows("SHOW TABLES LIKE 'schema_migrations'"):
        return {}
    found = database.rows("SELECT Version, Done, Digest FROM schema_migrations WHERE Finished IS NULL")
    return {version: (done, digest) for version, done, digest in found}


def _check_no_foreign_tables(
    database: Database, schema: str, before: int, started: dict[int, tuple[int, str]]
) -> None:
    """StateError for a database with tables but without `schema_migrations`: it belongs to another system."""
    if before > 0 or started:
        return
    names = sorted(name for (name,) in database.rows("SHOW TABLES") if name != "schema_migrations")
    if names:
        raise StateError(
            f"database {schema} has {len(names)} tables that no migration made ({', '.join(names[:3])});"
            " copy and empty it, or set another database in /etc/rocks/database.conf"
        )


def _check_unchanged(steps: Sequence[Migration], started: dict[int, tuple[int, str]]) -> None:
    for step in steps:
        if step.version in started and started[step.version][1] != step.digest:
            raise IncoherentError(
                f"migration {step.version:04} was begun by another version of these programs;"
                " finish it with that version, or restore the copy from before the migration"
            )


def _perform(database: Database, step: Migration, done: int) -> None:
    """Execute the remaining statements of a migration, from number `done` on."""
    database.execute(_JOURNAL)
    database.execute(
        "INSERT IGNORE INTO schema_migrations (Version, Name, Digest) VALUES (%s, %s, %s)",
        (step.version, step.name, step.digest),
    )
    database.commit()
    for number, statement in enumerate(step.statements[done:], done + 1):
        database.execute(statement)
        database.execute("UPDATE schema_migrations SET Done = %s WHERE Version = %s", (number, step.version))
        database.commit()
    database.execute(
        "UPDATE schema_migrations SET Finished = UTC_TIMESTAMP() WHERE Version = %s", (step.version,)
    )
    database.commit()


def _renew_grants(
    database: Database, settings: Settings, readers: Sequence[str] | None, report: Callable[[str], None]
) -> None:
    names = grants.present_readers(database, settings.database)
    if names is None:
        report(
            "the privileges to read the database were not changed: no privilege to read the server's own tables"
        )
        return
    if readers is not None:
        names = sorted({*names, *readers})
    elif settings.socket == EMBEDDED_SOCKET:
        names = sorted({*names, grants.ALL_LOCAL_USERS})
    grants.apply_grants(database, settings.database, names)
    everyone = grants.ALL_LOCAL_USERS in names
    users = "all local users" if everyone else ", ".join(names) or "root only"
    report(f"users with the privilege to read the database, except its sec_ tables: {users}")
    if names and not grants.bound_reads(database, settings.database):
        report(
            "long statements of these users are not ended: no privilege to turn on the server's event scheduler and to "
            "make an event; have the server's administrator set event_scheduler=ON and grant EVENT, then run rocks "
            "update database again"
        )


def split_statements(text: str) -> list[str]:
    """The statements of a file, without comments, delimiters and outer blanks.

    A line `DELIMITER //` changes the delimiter of statements, for bodies with semicolons; `DELIMITER ;`
    changes it back. BugError when the file ends inside a statement: it was truncated.
    """
    statements: list[str] = []
    delimiter, place = ";", 0
    parts: list[str] = []
    while place < len(text):
        if text.startswith(delimiter, place):
            statements.append("".join(parts).strip())
            parts, place = [], place + len(delimiter)
            continue
        token = _TOKEN.match(text, place)
        if token is None:
            break  # an unterminated quotation or comment
        place = token.end()
        if token["delimiter"] and not "".join(parts).strip():
            delimiter = token["token"]
        elif token["comment"]:
            parts.append(" ")
        else:
            parts.append(token.group())
    if rest := ("".join(parts) + text[place:]).strip():
        raise BugError(f"a file of SQL ends within a statement: {rest[:60]!r}; please report this")
    return statements
