"""A copy of the whole database as SQL text, for any empty schema."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rocks.core.errors import HostError, ToolError
from rocks.core.files import draft, explain, unnamed_file
from rocks.core.process import check_exit, run, run_checked
from rocks.database.driver import CHARACTER_SET, COLLATION, run_once

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with _explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft(folder / name, beside=folder / _DRAFT) as copy:
            _dump(settings, copy.descriptor)
    return folder / name


def unnamed_copy(settings: Settings, folder: Path) -> BinaryIO:
    """As `copy_database`, in a file without a name on the folder's file system; it is read from its beginning."""
    with _explained(folder):
        copy = unnamed_file(folder)
        try:
            _dump(settings, copy.fileno())
        except BaseException:
            copy.close()
            raise
        return copy


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"cannot write a copy of the database into {folder}: {explain(error, folder / _DRAFT)}"
        ) from None


def _dump(settings: Settings, descriptor: int) -> None:
    """Write the copy into an open file."""
    done = run(
        _dump_arguments(settings, f"/dev/fd/{descriptor}"),
        deadline_seconds=COPY_SECONDS,
        environment=_environment(settings),
        descriptors=(descriptor,),
    )
    if refused := _REFUSED_WRITE.search(done.error_text):
        raise OSError(int(refused[1]), os.strerror(int(refused[1])))
    check_exit(done)
    _check_complete(descriptor)


def _environment(settings: Settings) -> dict[str, str] | None:
    return {**os.environ, "MYSQL_PWD": settings.password} if settings.password else None


def has_schema(settings: Settings) -> bool:
    """Whether the server has a schema of the name that the settings have."""
    named = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    return bool(run_once(settings, named, (settings.database,)))


def load_copy(settings: Settings, sql: BinaryIO) -> None:
    """Give the schema of the settings the content of a copy, a file with SQL, in place of what it had."""
    name = settings.database
    run_once(settings, f"DROP DATABASE IF EXISTS {name}")
    run_once(settings, f"CREATE DATABASE {name} CHARACTER SET {CHARACTER_SET} COLLATE {COLLATION}")
    os.lseek(sql.fileno(), 0, os.SEEK_SET)  # the program has this descriptor, and its place
    # without commands of the client's own in the text
    run_checked(
        ["mariadb", "--no-defaults", *place_of(settings), "--binary-mode", name],
        deadline_seconds=COPY_SECONDS,
        input_descriptor=sql.fileno(),
        environment=_environment(settings),
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


def _dump_arguments(settings: Settings, result: str) -> list[str]:
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


def _check_complete(descriptor: int) -> None:
    """ToolError unless the dump ends with its last line. A migration cannot be undone without it."""
    end = os.fstat(descriptor).st_size
    if _LAST_LINE not in os.pread(descriptor, 200, max(0, end - 200)):
        raise ToolError(
            f"mariadb-dump succeeded, but its copy of {end} bytes is incomplete: is the disk full?"
        )
