"""Answers that are kept for a day, for clients that send a request again because they missed the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import from_json
from nucleus.mirror.driver import DuplicateError

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session

IDEMPOTENCY_HOURS = 24
"""How long the answer to a change is kept for a repetition with its key."""

_SOON = "SET STATEMENT innodb_lock_wait_timeout = 1 FOR"
"""A key that another request has claimed is waited for that long: both statements need its row."""


class Stored(NamedTuple):
    """An answer, and the hash of the request that it was given to."""

    request_hash: bytes
    status: int
    headers: dict[str, str]
    body: bytes


def claim(session: Session, actor: str, key: str, token_id: str | None, request_hash: bytes) -> Stored | None:
    """Take the key for this transaction; the stored answer if it was used.

    BusyError when a request with this key is at work: it has its row locked until its answer is stored.
    """
    session.execute(
        f"{_SOON} DELETE FROM idempotency WHERE actor = %s AND key_text = %s"
        f" AND created < UTC_TIMESTAMP(3) - INTERVAL {IDEMPOTENCY_HOURS} HOUR",
        (actor, key),
    )
    try:
        session.execute(
            f"{_SOON} INSERT INTO idempotency (actor, key_text, token_id, request_hash) VALUES (%s, %s, %s, %s)",
            (actor, key, token_id, request_hash),
        )
        return None
    except DuplicateError:
        return find(session, actor, key)


def find(session: Session, actor: str, key: str) -> Stored | None:
    """The answer that is stored under the key."""
    row = session.row(
        "SELECT request_hash, status, headers, body FROM idempotency WHERE actor = %s AND key_text = %s"
        f" AND created >= UTC_TIMESTAMP(3) - INTERVAL {IDEMPOTENCY_HOURS} HOUR",
        (actor, key),
    )
    return None if row is None else Stored(row[0], row[1], from_json(row[2]), row[3])


def store(session: Session, actor: str, key: str, answer: Stored) -> None:
    """Keep the answer under the key that this transaction has claimed."""
    columns = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    session.update("idempotency", columns, actor=actor, key_text=key)


def forget_old_answers(session: Session) -> int:
    """Remove answers older than a day; how many."""
    return session.execute(
        f"DELETE FROM idempotency WHERE created < UTC_TIMESTAMP(3) - INTERVAL {IDEMPOTENCY_HOURS} HOUR LIMIT 10000"
    )
