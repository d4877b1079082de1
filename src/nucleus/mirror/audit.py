"""The audit log: rows are only added, and each contains the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.columns import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nucleus.mirror.pool import Session

_FIRST = bytes(32)


class Entry(NamedTuple):
    """Who did what, from where, with which end. `before` and `after` are what changed, as JSON."""

    actor: str
    action: str
    target: str
    outcome: str = "accepted"
    token_id: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    before: str | None = None
    after: str | None = None


class Row(NamedTuple):
    """A row of the log."""

    seq: int
    at: datetime
    entry: Entry
    previous_hash: bytes
    hash: bytes


_COLUMNS = columns_of(
    "audit", ("seq", "at", *Entry._fields[:-2], "before_text", "after_text", "previous_hash", "hash")
)


def record(session: Session, *entries: Entry) -> None:
    """Append entries; the chain is locked until the end of the transaction, which should be near."""
    session.rows("SELECT name FROM lease WHERE name = 'audit' FOR UPDATE")
    previous = session.value("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1") or _FIRST
    for entry in entries:
        entry = _shortened(entry)
        now = datetime.now(UTC)
        at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        digest = hash_of(at, entry, previous)
        columns = entry._asdict()
        columns |= {"before_text": columns.pop("before"), "after_text": columns.pop("after")}
        columns |= {"at": at.replace(tzinfo=None), "previous_hash": previous, "hash": digest}
        session.insert("audit", columns)
        previous = digest


def _shortened(entry: Entry) -> Entry:
    """What the columns can hold: a refusal of a too long name must be recorded, too."""
    return entry._replace(
        actor=entry.actor[:64], action=entry.action[:64], target=entry.target[:255], outcome=entry.outcome[:64],
        source_ip=(entry.source_ip or "")[:45] or None, request_id=(entry.request_id or "")[:64] or None,
    )  # fmt: skip


def hash_of(at: datetime, entry: Entry, previous: bytes) -> bytes:
    """SHA-256 of the row before and of every value of this one."""
    values: list[Any] = [at.isoformat(timespec="milliseconds"), *entry]
    return hashlib.sha256(previous + json.dumps(values).encode("ascii")).digest()


def rows(session: Session, after: int = 0, limit: int = 1000) -> list[Row]:
    """Rows with a higher number, in their order."""
    found = session.rows(f"SELECT {_COLUMNS} FROM audit WHERE seq > %s ORDER BY seq LIMIT %s", (after, limit))
    return [Row(row[0], row[1], Entry(*row[2:-2]), row[-2], row[-1]) for row in found]


def newest(session: Session, count: int) -> list[Row]:
    """The last rows, the oldest of them first."""
    last = session.value("SELECT seq FROM audit ORDER BY seq DESC LIMIT 1 OFFSET %s", (count,))
    return rows(session, last or 0, count)


def faults(session: Session) -> Iterator[str]:
    """What is wrong with the chain, if anything: a row that was changed, removed or put in between."""
    previous, seq = _FIRST, 0
    while part := rows(session, seq):
        for row in part:
            if row.previous_hash != previous:
                yield f"row {row.seq} does not follow row {seq}: rows between them were removed or added"
            if hash_of(row.at, row.entry, row.previous_hash) != row.hash:
                yield f"row {row.seq} was changed: {row.entry.action} of {row.entry.actor} at {row.at.isoformat()}"
            previous, seq = row.hash, row.seq
