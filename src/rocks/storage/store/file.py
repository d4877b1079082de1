"""A daemon's SQLite file: tables, and transactions that are on the disk when they end."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, NamedTuple, Optional, Tuple

from rocks.core.errors import IncoherentError, StateError, ToolError
from rocks.core.files import explain

MAX_WAITING_REPLIES = 10_000
"""Replies to one queue that wait to be sent. A node that reads none of its own queue gets no more until it does."""

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


_ANEW = (
    "; stop the daemon and put a copy back, or move them away (mv {path} {path}.damaged): it makes new ones from what "
    "its volumes have"
)
_REMEDIES = {
    "database or disk is full": "; free space on that file system (df -h {folder})",
    "disk I/O error": "; look at that file system (df -h {folder}; dmesg)",
    "attempt to write a readonly database": "; mount that file system writable (findmnt -T {folder})",
    "unable to open database file": "; look at the folder (ls -la {folder})",
    "file is not a database": _ANEW,
    "database disk image is malformed": _ANEW,
}
"""SQLite's text (3.40) → what to do; `sqlite_errorcode` is newer than Python 3.9."""


class RecordsError(ToolError):
    """The records cannot be read or written, as while their file system is full."""


class OutboxMessage(NamedTuple):
    """A message to send to the queue `destination`; the other fields as in the bus."""

    message_id: str
    destination: str
    kind: str
    correlation_id: Optional[str]
    reply_to: Optional[str]
    body: bytes


class StoreFile:
    """The file of one daemon; one connection, used by all its threads in turn."""

    def __init__(self, path: Path, tables: str) -> None:
        """`tables` makes the daemon's tables besides the outbox. ToolError when the file cannot be used, StateError
        while another daemon uses it.
        """
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._owner_file = _own(path)
        try:
            self._open(tables)
        except BaseException:
            os.close(self._owner_file)
            raise

    def _open(self, tables: str) -> None:
        path = self._path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                str(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A transaction that has ended is on the disk: the daemon's next operation relies on that.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._create_tables(_COMMON_TABLES + tables)
        except OSError as error:
            raise ToolError(
                f"the daemon's records in {path} cannot be used: {explain(error, path)}"
            ) from None
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
            if self._owner_file >= 0:
                os.close(self._owner_file)
                self._owner_file = -1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none; within another transaction it is a part of that. Other threads wait."""
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

    def post(self, message: OutboxMessage) -> None:
        """Add a message, which stays until the broker has confirmed it.

        A waiting message with the same id is the same message. A reply beyond `MAX_WAITING_REPLIES` is dropped: a node
        that still wants it asks again.
        """
        with self.transaction():
            if message.kind == "reply":
                of_queue = "SELECT COUNT(*) FROM outbox WHERE destination = ? AND kind = 'reply'"
                if self.rows(of_queue, (message.destination,))[0][0] >= MAX_WAITING_REPLIES:
                    return
            self.change(
                f"INSERT INTO outbox ({_MESSAGE}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", message
            )

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> List[OutboxMessage]:
        """The oldest unsent messages, without those to the destinations `passing_over`."""
        placeholders = ", ".join("?" for _ in passing_over)
        sql = f"SELECT {_MESSAGE} FROM outbox WHERE destination NOT IN ({placeholders}) ORDER BY id LIMIT ?"
        return [OutboxMessage(*row) for row in self.rows(sql, (*passing_over, most))]

    def unsent(self, message_id: str) -> Optional[OutboxMessage]:
        """An unsent message; None when it is not there."""
        found = self.rows(f"SELECT {_MESSAGE} FROM outbox WHERE message_id = ?", (message_id,))
        return OutboxMessage(*found[0]) if found else None

    def sent(self, message_id: str) -> None:
        """Remove a message that the broker has confirmed, or can never deliver."""
        self.change("DELETE FROM outbox WHERE message_id = ?", (message_id,))

    def _execute(self, sql: str, values: Tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> RecordsError:
        remedy = _REMEDIES.get(str(error), "").format(path=self._path, folder=self._path.parent)
        return RecordsError(f"the daemon's records in {self._path} cannot be used: {error}{remedy}")

    def _create_tables(self, tables: str) -> None:
        version = int(self.rows("PRAGMA user_version")[0][0])
        if version > _SCHEMA_VERSION:
            raise IncoherentError(
                f"the records in {self._path} have version {version}, and this daemon has {_SCHEMA_VERSION}: upgrade it"
            )
        if version == 0:
            self._connection.executescript(f"BEGIN;{tables}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT;")


def _own(path: Path) -> int:
    """The lock of the records: one daemon at a time uses them, or two would perform the same work differently.

    The kernel releases it when the process ends, however that happens; a program that it has started does not have it.
    """
    place = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ToolError(f"the daemon's records in {path} cannot be used: {explain(error, place)}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        other = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise StateError(
            f"another daemon uses the records in {path} (process {other or 'unknown'}); stop it, then start this one: "
            f"`systemctl status {other}` shows its service"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


_MESSAGE = ", ".join(OutboxMessage._fields)


# --- the format number of stored records -----------------------------------------------------------------------------


RECORD_VERSION = 2
"""Raised when a record of this release would be misread by a daemon that ignores what it does not know.

Records of version 1 had no number. A field with a default needs no new version.
"""

_NUMBER = "v"


def numbered(record: Dict[str, Any]) -> Dict[str, Any]:
    """A record as it is stored."""
    return {_NUMBER: RECORD_VERSION, **record}


def unnumbered(record: Any, place: str) -> Dict[str, Any]:
    """A stored record without its version. IncoherentError when a newer release has stored it."""
    if not isinstance(record, dict):
        raise IncoherentError(f"the record of {place} is no JSON object")
    version = record.get(_NUMBER, 1)
    if not isinstance(version, int) or version > RECORD_VERSION:
        raise IncoherentError(
            f"the record of {place} has version {version}, and this daemon reads up to {RECORD_VERSION}: "
            "a newer release has stored it; install that release again"
        )
    return {name: value for name, value in record.items() if name != _NUMBER}
