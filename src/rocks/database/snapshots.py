"""A section of statements that all read the same state of the database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rocks.core import dry_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.connection import Database


@contextmanager
def one_moment(database: Database) -> Iterator[None]:
    """A section that reads what was committed when it begins, and nothing that others commit meanwhile.

    It must change nothing, and ends with the next commit or rollback. Where the caller has uncommitted changes, as in a
    dry run, it reads these and what others commit: a transaction of its own would commit them.
    """
    if dry_run.is_on() or database.has_changes:
        yield
        return
    database.rows("SELECT 1")  # a new connection reads the version, which begins a transaction
    database.end_reading()
    database.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # of the next transaction alone
    database.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    yield
    database.end_reading()
