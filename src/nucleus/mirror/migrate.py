"""Makes the schema and its user, and brings it to the version of these programs: `migrations/NNNN_title.sql`.

The server commits each definition of a table at once. So each statement can be repeated, and `schema_version` records
how many were done: the next run continues one that was killed.
"""

from __future__ import annotations

import contextlib
import re
from importlib import resources
from typing import TYPE_CHECKING

from nucleus.mirror.driver import SETUP_SECONDS, connect, explained
from nucleus.mirror.pool import Session, lock_name
from nucleus.parts import installed
from rocks.core.errors import BusyError, StateError

if TYPE_CHECKING:
    from nucleus.configuration import DatabaseSettings

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OTHER_RUN_SECONDS = 60


def load_migrations() -> list[tuple[int, list[str]]]:
    """Number, from 1, and statements of all migrations, those of the parts among them.

    A statement ends with a semicolon at the end of a line.
    """
    found = []
    packages = ["nucleus.mirror", *(part.migrations for part in installed().values() if part.migrations)]
    for package in packages:
        for file in resources.files(package).joinpath("migrations").iterdir():
            if file.name.endswith(".sql"):
                lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("--")]
                statements = re.split(r";[ \t]*$", "\n".join(lines), flags=re.MULTILINE)
                found.append((int(file.name[:4]), [one.strip() for one in statements if one.strip()]))
    return sorted(found)


def set_up(settings: DatabaseSettings) -> tuple[int, int]:
    """Make the schema, its user and its tables where missing, as root; returns the versions before and after.

    The schema's user gets all rights on it, and none elsewhere.
    HostError when the server cannot be reached, StateError for a schema of newer programs or of another system.
    """
    if not _NAME.fullmatch(settings.name) or not _NAME.fullmatch(settings.user):
        raise StateError(
            f"{settings.name!r} and {settings.user!r} cannot name a schema and its user:"
            " small letters, digits and _ are allowed; correct [database] in the settings"
        )
    with explained(settings):
        connection = connect(settings, None, "root", silence_seconds=SETUP_SECONDS, commits_itself=True)
    with contextlib.closing(connection):
        session = Session(connection, settings)
        if not session.value("SELECT GET_LOCK(%s, %s)", (lock_name(settings, "setup"), _OTHER_RUN_SECONDS)):
            raise BusyError("another `nucleus setup` is at work; repeat this when it has ended")
        session.execute(
            f"CREATE DATABASE IF NOT EXISTS {settings.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
        )
        session.execute(f"USE {settings.name}")
        before, after = _migrate(session, settings, load_migrations())
        if settings.user != "root":
            session.execute(f"CREATE USER IF NOT EXISTS {settings.user}@localhost IDENTIFIED VIA unix_socket")
            session.execute(f"GRANT ALL PRIVILEGES ON {settings.name}.* TO {settings.user}@localhost")
        return before, after


def check_version(session: Session) -> None:
    """StateError unless the schema has the version of these programs."""
    known = [number for number, _ in load_migrations()]
    done = session.column("SELECT version FROM schema_version WHERE finished IS NOT NULL")
    newest, found = known[-1], max(done, default=0)
    if found == newest and not set(known) <= set(done):
        raise StateError(
            "the schema of Nucleus has no tables of a part that was installed; run `nucleus setup` as root"
        )
    if found != newest:
        raise StateError(
            f"the schema of Nucleus has version {found}, these programs need version {newest};"
            " run `nucleus setup` as root"
        )


def _migrate(
    session: Session, settings: DatabaseSettings, steps: list[tuple[int, list[str]]]
) -> tuple[int, int]:
    tables = set(session.column("SHOW TABLES"))
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
    if before > steps[-1][0]:
        raise StateError(
            f"the schema {settings.name} has version {before}, these programs know {steps[-1][0]};"
            " install the newer programs"
        )
    for version, statements in steps:
        if done.get(version) != -1:
            session.insert("schema_version", {"version": version}, "INSERT IGNORE")
            begin = done.get(version, 0)
            for number, statement in enumerate(statements[begin:], begin + 1):
                session.execute(statement)
                session.update("schema_version", {"done": number}, version=version)
            session.update("schema_version", {}, "finished = UTC_TIMESTAMP(3)", version=version)
    return before, steps[-1][0]
