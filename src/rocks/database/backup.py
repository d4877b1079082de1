"""A copy of the whole database as SQL text, which loads into any empty schema."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.errors import HostError, ToolError
from rocks.process import run_checked

if TYPE_CHECKING:
    from rocks.database.settings import Settings

BACKUP_FOLDER = Path("/var/lib/rocks/backup")
COPY_SECONDS = 3600
"""How long a copy may take."""

_LAST_WORDS = b"-- Dump completed"
_PARTIAL = ".partial"


def copy_database(settings: Settings, folder: Path, name: str) -> Path:
    """Write the database's tables, views, procedures and triggers to `folder/name`; returns that path.

    The file is readable by its owner only, complete and on the disk when it has its name. An attempt that was
    cut short leaves a `.partial` file, which the next copy removes; the caller sees to it that only one runs.
    HostError when the folder cannot be written, ToolError when the copying program fails or is missing.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_over in folder.glob(f"*{_PARTIAL}"):
            left_over.unlink()
        partial = folder / (name + _PARTIAL)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise HostError(f"cannot write a copy of the database into {folder}: {error.strerror}") from None
    run_checked(
        _dump_arguments(settings, partial),
        deadline_seconds=COPY_SECONDS,
        environment={**os.environ, "MYSQL_PWD": settings.password} if settings.password else None,
    )
    _prove_complete(partial)
    return partial.rename(folder / name)


def _dump_arguments(settings: Settings, result: Path) -> list[str]:
    place = (
        [f"--host={settings.host}", f"--port={settings.port}", "--protocol=tcp"]
        if settings.socket is None
        else [f"--socket={settings.socket}"]
    )
    return [
        _dump_program(),
        "--no-defaults",
        *place,
        f"--user={settings.user}",
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
        "no copy of the database can be made, so it was left as it is: mariadb-dump is not installed;"
        " install the package mariadb-client (Debian) or mariadb (RPM)"
    )


def _prove_complete(path: Path) -> None:
    """The dump ends with its own last line, and is on the disk: what follows cannot be undone without it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        if _LAST_WORDS not in file.read():
            raise ToolError(f"mariadb-dump ended well but {path} is not complete: is the disk full?")
        os.fsync(file.fileno())
