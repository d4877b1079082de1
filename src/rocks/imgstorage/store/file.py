"""A daemon's SQLite file: opened with its tables, changed in transactions that are on the disk when they end."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Collection, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from rocks.errors import IncoherentError, ToolError

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0

_COMMON_TABLES = """
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id TEXT NOT NULL UNIQUE,
  destination TEXT NOT NULL,
  kind TEXT NOT NULL,
  correlation_id TEXT,
  reply_to TEXT,
  body BLOB NOT NULL
);
"""


class OutboxMessage(NamedTuple):
    """A message that is to be sent to the queue `destination`; the rest as the bus has it."""

    message_id: str
    destination: str
    kind: str
    correlation_id: Optional[str]
    reply_to: Optional[str]
    body: bytes


class LaterColumn(NamedTuple):
    """A column that a table got after its first release, as SQLite declares it.

    A file of before gets it, empty, and keeps its version: a daemon of before passes it over.
    """

    table: str
    name: str
    kind: str


class StoreFile:
    """The file of one daemon; one connection, used by all its threads in turn."""

    def __init__(self, path: Path, tables: str, later: Sequence[LaterColumn] = ()) -> None:
        """`tables` makes what the daemon needs besides the outbox, but for what came `later`. ToolError when the file
        cannot be used.
        """
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                str(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A transaction that has ended is on the disk: what a daemon does next rests on that.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._bring_up(_COMMON_TABLES + tables)
            self._add_columns(later)
        except (OSError, sqlite3.Error) as error:
            raise ToolError(f"the daemon's records in {path} cannot be used: {error}") from None

    def close(self) -> None:
        """No more of it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none; inside another one it is a part of that. Other threads wait."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise
            finally:
                self._depth = 0

    def rows(self, sql: str, values: Tuple[Any, ...] = ()) -> List[Tuple[Any, ...]]:
        """The rows of one query."""
        with self._lock:
            return self._execute(sql, values).fetchall()

    def change(self, sql: str, values: Tuple[Any, ...] = ()) -> int:
        """One statement in a transaction; returns the number of rows it changed."""
        with self.transaction():
            return self._execute(sql, values).rowcount

    # --- outbox

    def post(self, letter: OutboxMessage) -> None:
        """A message to be sent as soon as the broker is there; it is kept until the broker has taken it.

        One of the same number that still waits is the same message.
        """
        self.change(
            f"INSERT INTO outbox ({_LETTER}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", letter
        )

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> List[OutboxMessage]:
        """The oldest messages that are not sent yet, but for those to some destinations."""
        marks = ", ".join("?" for _ in passing_over)
        sql = f"SELECT {_LETTER} FROM outbox WHERE destination NOT IN ({marks}) ORDER BY id LIMIT ?"
        return [OutboxMessage(*row) for row in self.rows(sql, (*passing_over, most))]

    def letter(self, message_id: str) -> Optional[OutboxMessage]:
        """One that is not sent yet."""
        found = self.rows(f"SELECT {_LETTER} FROM outbox WHERE message_id = ?", (message_id,))
        return OutboxMessage(*found[0]) if found else None

    def sent(self, message_id: str) -> None:
        """The broker has it, or will never take it."""
        self.change("DELETE FROM outbox WHERE message_id = ?", (message_id,))

    def _execute(self, sql: str, values: Tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise ToolError(f"the daemon's records in {self._path} cannot be used: {error}") from None

    def _bring_up(self, tables: str) -> None:
        version = int(self.rows("PRAGMA user_version")[0][0])
        if version > _SCHEMA_VERSION:
            raise IncoherentError(
                f"the records in {self._path} are of version {version}, and this daemon knows {_SCHEMA_VERSION}; "
                "upgrade the daemon"
            )
        if version == 0:
            self._connection.executescript(f"BEGIN;{tables}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")

    def _add_columns(self, later: Sequence[LaterColumn]) -> None:
        with self.transaction():
            for column in later:
                there = {name for _, name, *_ in self.rows(f"PRAGMA table_info({column.table})")}
                if column.name not in there:
                    self._execute(f"ALTER TABLE {column.table} ADD COLUMN {column.name} {column.kind}")


_LETTER = ", ".join(OutboxMessage._fields)
