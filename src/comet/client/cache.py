"""The last good answer to each GET, with its ETag, in one SQLite file of the user; without secrets.

A cache never stops a command: when its file cannot be used (another owner, a full disk, another program's lock), the
command goes on without it, and `trouble` says why.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

_VERSION = 1
"""SQLite's user_version; a file of another version is emptied: it holds nothing that the server does not have."""

_STORED_SECONDS = 30 * 86400
_LARGEST = 64 * 1024 * 1024
_TABLE = """CREATE TABLE answer (endpoint TEXT, username TEXT, path TEXT, etag TEXT, body BLOB, asked_at REAL,
            PRIMARY KEY (endpoint, username, path)) WITHOUT ROWID"""


class Cached(NamedTuple):
    """An answer's body (JSON text), its ETag or "", and when it was last confirmed (seconds since 1970)."""

    body: bytes
    etag: str
    asked_at: float


def default_path() -> Path:
    """`$XDG_CACHE_HOME/comet/answers.sqlite`, by default below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    folder = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    return folder / "comet" / "answers.sqlite"


class Cache:
    """The answers to one user of one endpoint; `username` is any text that differs between users and tokens."""

    def __init__(self, path: Path, endpoint: str, username: str) -> None:
        self.path, self.endpoint, self.username = path, endpoint, username
        self.trouble: Optional[str] = None
        self._database: Optional[sqlite3.Connection] = None
        self._opened = False

    def get(self, path: str) -> Optional[Cached]:
        rows = self._run(
            "SELECT body, etag, asked_at FROM answer WHERE endpoint = ? AND username = ? AND path = ?",
            (self.endpoint, self.username, path),
        )
        return Cached(bytes(rows[0][0]), str(rows[0][1]), float(rows[0][2])) if rows else None

    def put(self, path: str, body: bytes, etag: str) -> None:
        now = time.time()
        if len(body) <= _LARGEST:
            self._run(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)",
                (self.endpoint, self.username, path, etag, body, now),
            )
        self._run("DELETE FROM answer WHERE asked_at < ?", (now - _STORED_SECONDS,))

    def confirm(self, path: str) -> None:
        """The server confirmed that the stored answer still holds."""
        self._run(
            "UPDATE answer SET asked_at = ? WHERE endpoint = ? AND username = ? AND path = ?",
            (time.time(), self.endpoint, self.username, path),
        )

    def clear(self) -> None:
        """Forget this endpoint's answers, of every user of it."""
        self._run("DELETE FROM answer WHERE endpoint = ?", (self.endpoint,))

    def answers(self) -> list[tuple[str, str, int, float]]:
        """(endpoint, path, bytes, time) of every stored answer."""
        return self._run(
            "SELECT endpoint, path, length(body), asked_at FROM answer ORDER BY endpoint, path", ()
        )

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            if not self._opened:
                self._opened = True
                self._database = self._open()
            return [] if self._database is None else self._database.execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return []

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"the cache {self.path} is not used: {error}"
        try:
            self.close()
        except sqlite3.Error:
            self._database = None
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                self.path.unlink()  # broken: the next command makes a new one

    def _open(self) -> Optional[sqlite3.Connection]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_NOFOLLOW: a link that another user left would have the answers written elsewhere
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError(f"it belongs to user id {found.st_uid}; remove it, or set XDG_CACHE_HOME")
            if stat.S_IMODE(found.st_mode) & 0o077:
                os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
        try:
            return self._prepare()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # not a database, or a broken one: nothing in it is missed
            self.path.unlink()
            return self._prepare()

    def _prepare(self) -> sqlite3.Connection:
        database = sqlite3.connect(str(self.path), timeout=5, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")  # a crash may cost the cache, never a command's time
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                database.execute("BEGIN IMMEDIATE")
                if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:  # two at once
                    database.execute("DROP TABLE IF EXISTS answer")
                    database.execute(_TABLE)
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                database.execute("COMMIT")
            database.execute("SELECT 1 FROM answer LIMIT 1")
        except BaseException:
            database.close()
            raise
        return database
