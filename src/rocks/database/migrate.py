"""Numbered migrations: the schema brought to the version of these programs, whatever was interrupted before.

A definition of a table is committed by the server at once, so a migration is no transaction. Each statement
can therefore be repeated (IF NOT EXISTS, OR REPLACE), and how many were done is kept in `schema_migrations`:
a run that was killed anywhere is continued by the next. Rows and the mark that they were written are one
transaction.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.database import driver, grants, versions
from rocks.database.backup import BACKUP_FOLDER, copy_database
from rocks.database.connection import Database
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.database.statements import split_statements
from rocks.errors import BugError, IncoherentError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.driver import Connection, Cursor
    from rocks.database.settings import Settings

STATEMENT_SECONDS = 3600
"""How long one statement of a migration may take: it may rewrite a large table."""

OTHER_RUN_SECONDS = 60.0
"""How long a run waits for another one to end."""

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


class Migration(NamedTuple):
    """One step of the schema: number (from 1), title, statements in order, digest of the file."""

    version: int
    name: str
    statements: tuple[str, ...]
    digest: str


class MigrationReport(NamedTuple):
    """Versions before and after (0: no schema), and where the copy of what was before lies, if any."""

    before: int
    after: int
    copy_path: Path | None


class _AnySchema(Database):
    """A connection that does not ask for the schema's version, nor that the database is there."""

    def _open(self) -> Connection[Cursor]:
        return driver.open_connection(self.settings, None, STATEMENT_SECONDS)


def load_migrations(folder: Path | str = versions.MIGRATIONS_FOLDER) -> list[Migration]:
    """The migrations of a folder in order. BugError for a file of another name, a gap or a cut file."""
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
    """The schema's version now, 0 when there is none. HostError when the server is not reached."""
    with _AnySchema(settings) as database:
        return _read_version(database, settings.database)


def bring_up_to_date(
    settings: Settings,
    backup_folder: Path = BACKUP_FOLDER,
    tell: Callable[[str], None] = lambda line: None,
    migrations: Sequence[Migration] | None = None,
    readers: Sequence[str] | None = None,
) -> MigrationReport:
    """Make the database if it is absent, bring its schema to the newest version, and renew the right to read
    it.

    Before a schema that holds something is changed, a copy of it is made in `backup_folder`. `tell` gets a
    line at each step. `migrations` None: those of these programs. `readers`: the local users that may read;
    None means all local users on the embedded instance, and elsewhere those that could read before.

    StateError, with nothing changed, for a schema newer than the migrations or a database of somebody else;
    BusyError while another run is at it; IncoherentError when an unfinished migration is not the one we have.
    Killed at any point, the next run continues.
    """
    steps = load_migrations() if migrations is None else list(migrations)
    with _AnySchema(settings) as database:
        database.lock("migrations", OTHER_RUN_SECONDS)
        report = _migrate(database, settings, steps, backup_folder, tell)
        _renew_grants(database, settings, readers, tell)
    return report


def _migrate(
    database: Database,
    settings: Settings,
    steps: Sequence[Migration],
    backup_folder: Path,
    tell: Callable[[str], None],
) -> MigrationReport:
    newest = steps[-1].version if steps else 0
    before = _read_version(database, settings.database)
    tell(
        f"database {settings.database} at {settings.place}: schema version {before}, newest version {newest}"
    )
    if before > newest:
        raise versions.wrong_version(settings.database, before, newest)
    if before == newest:
        return MigrationReport(before, before, None)
    _enter(database, settings.database)
    started = _read_started(database)
    _refuse_foreign_tables(database, settings.database, before, started)
    _refuse_changed(steps, started)
    copy_path = None
    if before > 0:
        copy_path = copy_database(settings, backup_folder, _copy_name(database, settings.database, before))
        tell(f"copy of the database before the upgrade: {copy_path}")
    for step in steps[before:]:
        tell(f"migration {step.version:04} {step.name}: {len(step.statements)} statements")
        _perform(database, step, started.get(step.version, (0, step.digest))[0])
    tell(f"database {settings.database}: schema version {newest}")
    return MigrationReport(before, newest, copy_path)


def _read_version(database: Database, schema: str) -> int:
    has_journal = database.rows(
        "SELECT 1 FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'schema_migrations'",
        (schema,),
    )
    if not has_journal:
        return 0
    database.execute(f"USE {grants.quoted(schema)}")
    return int(database.rows(versions.READ_VERSION)[0][0])


def _enter(database: Database, schema: str) -> None:
    """Make the database if need be, with names compared without case, and work in it from here on."""
    database.execute(
        f"CREATE DATABASE IF NOT EXISTS {grants.quoted(schema)}"
        f" CHARACTER SET {driver.CHARACTER_SET} COLLATE {driver.COLLATION}"
    )
    database.execute(f"USE {grants.quoted(schema)}")


def _read_started(database: Database) -> dict[int, tuple[int, str]]:
    """Migrations that were begun and not finished: version → statements done, digest of its file."""
    if not database.rows("SHOW TABLES LIKE 'schema_migrations'"):
        return {}
    found = database.rows("SELECT Version, Done, Digest FROM schema_migrations WHERE Finished IS NULL")
    return {version: (done, digest) for version, done, digest in found}


def _refuse_foreign_tables(
    database: Database, schema: str, before: int, started: dict[int, tuple[int, str]]
) -> None:
    """A database with tables and without our journal is not ours: a name could mean something else there."""
    if before > 0 or started:
        return
    names = sorted(name for (name,) in database.rows("SHOW TABLES") if name != "schema_migrations")
    if names:
        raise StateError(
            f"database {schema} holds {len(names)} tables that no migration made ({', '.join(names[:3])}):"
            " empty it after you have copied it, or name another database in /etc/rocks/database.conf"
        )


def _refuse_changed(steps: Sequence[Migration], started: dict[int, tuple[int, str]]) -> None:
    for step in steps:
        if step.version in started and started[step.version][1] != step.digest:
            raise IncoherentError(
                f"migration {step.version:04} was begun by other programs than these:"
                " finish it with those, or load the copy that was made before it"
            )


def _copy_name(database: Database, schema: str, version: int) -> str:
    moment = database.rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(3), '%Y%m%dT%H%i%s.%fZ')")[0][0]
    return f"{schema}-version-{version}-{moment}.sql"


def _perform(database: Database, step: Migration, done: int) -> None:
    """Do the rest of a migration, from its statement number `done` on."""
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
    database: Database, settings: Settings, readers: Sequence[str] | None, tell: Callable[[str], None]
) -> None:
    names = grants.present_readers(database, settings.database)
    if names is None:
        tell("who may read the database is left as it is: we may not look at the server's own tables")
        return
    if readers is not None:
        names = sorted({*names, *readers})
    elif settings.socket == EMBEDDED_SOCKET:
        names = sorted({*names, grants.ALL_LOCAL_USERS})
    grants.apply_grants(database, settings.database, names)
    everyone = grants.ALL_LOCAL_USERS in names
    who = "all local users" if everyone else ", ".join(names) or "nobody but root"
    tell(f"who may read the database, without its sec_ tables: {who}")
