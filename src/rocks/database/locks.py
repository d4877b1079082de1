"""Named locks: they serialise changes of one object by all commands of the site (decision 2)."""

from __future__ import annotations

LONGEST_KEY = 64
"""The longest name of a lock that the server accepts (MariaDB 10.11: 64 characters)."""

LONGEST_WAIT_SECONDS = 20.0
"""The longest time one statement waits; below the time after which a silent server counts as lost."""


def lock_key(database_name: str, name: str) -> str:
    """The server-wide name of a lock of one database; locks of two databases never collide.

    Names that differ in case only are one lock. A long name keeps its beginning, which is readable in the
    server's list of locks, and ends with a digest of the whole.
    """
    key = f"{database_name}:{name}".lower()
    if len(key) <= LONGEST_KEY:
        return key
    import hashlib

    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{key[: LONGEST_KEY - 33]}:{digest}"


def take_statement(count: int) -> str:
    """The one statement that takes `count` locks in order; its values are (key, seconds) for each.

    All of them share one waiting time: SYSDATE advances during the statement, NOW does not. Each column is 1
    for a lock that was taken, 0 after the timeout, NULL where waiting would have been a deadlock.
    """
    remaining = "GREATEST(0, %s - TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) / 1000000)"
    return "SELECT " + ", ".join([f"GET_LOCK(%s, {remaining})"] * count)


def release_statement(count: int) -> str:
    """The one statement that releases `count` locks; its values are their keys."""
    return "SELECT " + ", ".join(["RELEASE_LOCK(%s)"] * count)
