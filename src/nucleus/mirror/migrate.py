"""Makes the schema and its user, and brings it to the version of these programs: `mirror/migrations/NNNN.sql`.

The server commits each definition of a table at once. So each statement can be repeated, and `schema_version` records
how many were done: the next run continues one that was killed.
"""

from __future__ import annotations

import contextlib
import re
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.driver import DRIVER_ERRORS, connect, explain
from nucleus.mirror.pool import Session, lock_name
from rocks.core.errors import BusyError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nucleus.configuration import DatabaseSettings

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OTHER_RUN_SECONDS = 60


class Migration(NamedTuple):
    """Number from 1, and the statements in order."""

    version: int
    statements: tuple[str, ...]


def load_migrations() -> list[Migration]:
    """All migrations. A statement ends with a semicolon at the end of a line."""
    found = []
    for file in resources.files("nucleus.mirror").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("--")]
            parts = re.split(r";[ \t]*$", "\n".join(lines), flags=re.MULTILINE)
            found.append(Migration(int(file.name[:4]), tuple(part.strip() for part in parts if part.strip())))
    return sorted(found)


def set_up(settings: DatabaseSettings, administrator: str = "root") -> tuple[int, int]:
    """Make the schema, its user and its tables where missing; returns the versions before and after.

    `administrator` is the server's user for this; the schema's own user gets all rights on it and none elsewhere.
    HostError when the server cannot be reached, StateError for a schema of newer programs or of another system.
    """
    if not _NAME.fullmatch(settings.name) or not _NAME.fullmatch(settings.user):
        raise StateError(
            f"{settings.name!r} and {settings.user!r} cannot name a schema and its user:"
            " small letters, digits and _ are allowed; correct [database] in the settings"
        )
    with _administering(settings, administrator) as session:
        if not (
            session.row("SELECT GET_LOCK(%s, %s)", (lock_name(settings, "setup"), _OTHER_RUN_SECONDS)) or (0,)
        )[0]:
            raise BusyError("another `nucleus setup` is at work; repeat this when it has ended")
        session.execute(
            f"CREATE DATABASE IF NOT EXISTS {settings.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
        )
        session.execute(f"USE {settings.name}")
        before, after = _migrate(session, settings, load_migrations())
        if settings.user != administrator:
            session.execute(f"CREATE USER IF NOT EXISTS {settings.user}@localhost IDENTIFIED VIA unix_socket")
            session.execute(f"GRANT ALL PRIVILEGES ON {settings.name}.* TO {settings.user}@localhost")
        return before, after


def check_version(session: Session) -> None:
    """StateError unless the schema has the version of these programs."""
    newest = load_migrations()[-1].version
    found = session.row("SELECT MAX(version) FROM schema_version WHERE finished IS NOT NULL")
    if found is None or found[0] != newest:
        raise StateError(
            f"the schema of Nucleus has version {(found or [0])[0] or 0}, these programs need version {newest};"
            " run `nucleus setup` as root"
        )


@contextlib.contextmanager
def _administering(settings: DatabaseSettings, administrator: str) -> Iterator[Session]:
    try:
        connection = connect(settings, None, administrator)
    except DRIVER_ERRORS as error:
        raise explain(error, settings) from None
    try:
        connection.autocommit(True)
        yield Session(connection, settings)
    finally:
        connection.close()


def _migrate(session: Session, settings: DatabaseSettings, steps: list[Migration]) -> tuple[int, int]:
    tables = {name for (name,) in session.rows("SHOW TABLES")}
    if tables and "schema_version" not in tables:
        raise StateError(
            f"the schema {settings.name} has tables that Nucleus did not make ({', '.join(sorted(tables)[:3])});"
            " set another name in [database] of the settings"
        )
    session.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY, done INT NOT NULL DEFAULT 0,"
        " finished DATETIME(3) NULL) ENGINE=InnoDB"
    )
    done = dict(session.rows("SELECT version, IF(finished IS NULL, done, -1) FROM schema_version"))
    before = max((version for version, count in done.items() if count == -1), default=0)
    if before > steps[-1].version:
        raise StateError(
            f"the schema {settings.name} has version {before}, these programs know {steps[-1].version};"
            " install the newer programs"
        )
    for step in steps:
        if done.get(step.version) != -1:
            _perform(session, step, done.get(step.version, 0))
    return before, steps[-1].version


def _perform(session: Session, step: Migration, done: int) -> None:
    session.execute("INSERT IGNORE INTO schema_version (version) VALUES (%s)", (step.version,))
    for number, statement in enumerate(step.statements[done:], done + 1):
        session.execute(statement)
        session.execute("UPDATE schema_version SET done = %s WHERE version = %s", (number, step.version))
    session.execute(
        "UPDATE schema_version SET finished = UTC_TIMESTAMP(3) WHERE version = %s", (step.version,)
    )
