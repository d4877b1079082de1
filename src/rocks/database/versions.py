"""The version of the schema: the version that these programs need, and the version of a database."""

from __future__ import annotations

import os
from functools import cache

from rocks.core.errors import BugError, StateError

MIGRATIONS_FOLDER = os.path.join(os.path.dirname(__file__), "migrations")  # noqa: PTH118, PTH120 - cheap
"""Folder of the files `NNNN_title.sql`, numbered from 0001 without gaps."""

READ_VERSION = "SELECT COALESCE(MAX(Version), 0) FROM schema_migrations WHERE Finished IS NOT NULL"
"""The statement for the number of the last finished migration."""


@cache
def newest_version(folder: str = MIGRATIONS_FOLDER) -> int:
    """Number of the last migration of these programs, read once per process. BugError when there is none."""
    numbers = [int(name[:4]) for name in os.listdir(folder) if name.endswith(".sql")]  # noqa: PTH208 - cheap
    if not numbers:
        raise BugError(f"no migrations in {folder}: the installation is incomplete; please report this")
    return max(numbers)


def wrong_version(database_name: str, found: int, needed: int) -> StateError:
    """The error with both versions and the command that fixes it."""
    has = f"the schema of database {database_name} has version {found}"
    if found < needed:
        return StateError(f"{has}, these programs need {needed}: run `rocks update database`")
    return StateError(f"{has}, these programs support versions up to {needed}: install newer programs")
