"""A copy of the whole database as SQL text, for any empty schema."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, ToolError
from rocks.core.files import draft, explain
from rocks.core.process import check_exit, run, run_checked
from rocks.database.driver import CHARACTER_SET, COLLATION, run_once

if TYPE_CHECKING:
    from rocks.database.settings import Settings

BACKUP_FOLDER = Path("/var/lib/rocks/backup")
COPY_SECONDS = 3600
"""How long a copy may take."""

_LAST_LINE = b"-- Dump completed"
_REFUSED_WRITE = re.compile(r"Got errno (\d+) on write")
"""How mariadb-dump says that the operating system refused to write its file."""
_DRAFT = "copy"
"""All copies have drafts of one name, so that each copy removes the draft of a killed one."""


def copy_database(settings: Settings, folder: Path, name: str) -> Path:
    """Write the database's tables, views, procedures and triggers to `folder/name`; returns that path.

    Only its owner can read the file. When it has its name, it is complete and on the disk. The next copy removes the
    draft of a killed one.
    HostError when the folder cannot be written or is full, ToolError when the copying program fails or is missing.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft(folder / name, beside=folder / _DRAFT) as copy:
            done = run(
                _dump_arguments(settings, copy.path),
                deadline_seconds=COPY_SECONDS,
                environment={**os.environ, "MYSQL_PWD": settings.password} if settings.password else None,
            )
            if refused := _REFUSED_WRITE.search(done.error_text):
                raise OSError(int(refused[1]), os.strerror(int(refused[1])))
            check_exit(done)
            _check_complete(copy.path)
    except OSError as error:
        raise HostError(
            f"cannot write a copy of the database into {folder}: {explain(error, folder / name)}"
        ) from None
    return folder / name


def has_schema(settings: Settings) -> bool:
    """Whether the server has a schema of the name that the settings have."""
    named = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    return bool(run_once(settings, named, (settings.database,)))


def load_copy(settings: Settings, sql: bytes) -> None:
    """Give the schema of the settings the content of a copy, SQL of `copy_database`, in place of what it had."""
    name = settings.database
    run_once(settings, f"DROP DATABASE IF EXISTS {name}")
    run_once(settings, f"CREATE DATABASE {name} CHARACTER SET {CHARACTER_SET} COLLATE {COLLATION}")
    # without commands of the client's own in the text
    run_checked(
        ["mariadb", "--no-defaults", *place_of(settings), "--binary-mode", name],
        deadline_seconds=COPY_SECONDS,
        standard_input=sql,
        environment={**os.environ, "MYSQL_PWD": settings.password} if settings.password else None,
    )


def restore_command(settings: Settings, copy: Path) -> str:
    """A line for a shell that replaces the database by a copy of it, and brings its schema up to date."""
    program = shlex.join(["mariadb", *place_of(settings), *(["--password"] if settings.password else [])])
    name = settings.database
    new = f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET {CHARACTER_SET} COLLATE {COLLATION}"
    return f"{program} -e '{new}' && {program} {name} <{shlex.quote(str(copy))} && rocks update database"


def place_of(settings: Settings) -> list[str]:
    """Arguments of MariaDB's programs for the server and the user."""
    place = (
        [f"--host={settings.host}", f"--port={settings.port}", "--protocol=tcp"]
        if settings.socket is None
        else [f"--socket={settings.socket}"]
    )
    return [*place, f"--user={settings.user}"]


def _dump_arguments(settings: Settings, result: Path) -> list[str]:
    return [
        _dump_program(),
        "--no-defaults",
        *place_of(settings),
        "--single-transaction",
        "--routines",
        "--triggers",
        "--default-character-set=utf8mb4",
        f"--result-file={result}",
        settings.database,
    ]


def _dump_program() -> str:
    for program in ("mariadb-dump", "mysqldump"):
        if path := shutil.which(program):
            return path
    raise ToolError(
        "cannot copy the database, so it was not changed: mariadb-dump is not installed;"
        " install the package mariadb-client (Debian) or mariadb (RPM)"
    )


def _check_complete(path: Path) -> None:
    """ToolError unless the dump ends with its last line. A migration cannot be undone without it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        if _LAST_LINE not in file.read():
            raise ToolError(f"mariadb-dump succeeded, but {path} is incomplete: is the disk full?")
