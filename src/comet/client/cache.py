"""The last good answer to each GET, with its ETag, in one SQLite file of the user; without secrets.

A cache never stops a command: when its file cannot be used (another owner, a full disk, another program's lock), the
command goes on without it, and `trouble` says why.

Old answers are printed with their age and the exit status 6, also when the server states that its site has
not answered it: a person wants to see the last one, and a script must not act on it. What decides a change is
never taken from here.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

from comet.client.errors import UsageError
from comet.client.files import expanded

_VERSION = 1
"""SQLite's user_version; a file of another version is emptied: it holds nothing that the server does not have."""

_STORED_SECONDS = 30 * 86400
_LARGEST = 64 * 1024 * 1024
_KEY = "endpoint = ? AND username = ? AND path = ?"
_TABLE = """CREATE TABLE answer (endpoint TEXT, username TEXT, path TEXT, etag TEXT, body BLOB, asked_at REAL,
            PRIMARY KEY (endpoint, username, path)) WITHOUT ROWID"""


class Cached(NamedTuple):
    """An answer's body (JSON text), its ETag or "", and when it was last confirmed (seconds since 1970)."""

    body: bytes
    etag: str
    asked_at: float


def default_path() -> Path:
    """`$XDG_CACHE_HOME/comet/answers.sqlite`, by default below ~/.cache, with the `~`."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    folder = Path(base) if Path(base).is_absolute() else Path("~/.cache")
    return folder / "comet" / "answers.sqlite"


class Cache:
    """The answers to one user of one endpoint; `username` is any text that differs between users and tokens."""

    def __init__(self, path: Path, endpoint: str, username: str) -> None:
        self.path, self._owner = path, (endpoint, username)
        self.trouble: Optional[str] = None
        self._database: Optional[sqlite3.Connection] = None
        self._opened = False

    def get(self, path: str) -> Optional[Cached]:
        rows = self._run(f"SELECT body, etag, asked_at FROM answer WHERE {_KEY}", (*self._owner, path))
        return Cached(*rows[0]) if rows else None

    def put(self, path: str, body: bytes, etag: str) -> None:
        now = time.time()
        if len(body) <= _LARGEST:
            values = (*self._owner, path, etag, body, now)
            self._run("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)", values)
        self._run("DELETE FROM answer WHERE asked_at < ?", (now - _STORED_SECONDS,))

    def confirm(self, path: str) -> None:
        """The server confirmed that the stored answer still holds."""
        self._run(f"UPDATE answer SET asked_at = ? WHERE {_KEY}", (time.time(), *self._owner, path))

    def clear(self) -> None:
        """Forget this endpoint's answers, of every user of it."""
        self._run("DELETE FROM answer WHERE endpoint = ?", self._owner[:1])

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
        except (sqlite3.Error, OSError, UsageError) as error:
            self.trouble = f"the cache {self.path} is not used: {error}"
            self.close()
            if type(error) is sqlite3.DatabaseError:
                with contextlib.suppress(OSError):
                    self.path.unlink()  # broken: the next command makes a new one
            return []

    def _open(self) -> sqlite3.Connection:
        self.path = expanded(self.path)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_NOFOLLOW: a link that another user left would have the answers written elsewhere
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError(f"it belongs to user id {found.st_uid}; remove it, or set XDG_CACHE_HOME")
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
        try:
            return self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.path.unlink()  # not a database, or a broken one: nothing in it is missed
            return self._prepare()

    def _prepare(self) -> sqlite3.Connection:
        database = sqlite3.connect(str(self.path), timeout=5, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")  # a crash may cost the cache, never a command's time
            if not self._is_current(database):
                database.execute("BEGIN IMMEDIATE")
                if not self._is_current(database):  # two at once
                    database.execute("DROP TABLE IF EXISTS answer")
                    database.execute(_TABLE)
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                database.execute("COMMIT")
            database.execute("SELECT 1 FROM answer LIMIT 1")
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def _is_current(database: sqlite3.Connection) -> bool:
        return bool(database.execute("PRAGMA user_version").fetchone()[0] == _VERSION)
