"""The audit log: rows are only added, and each contains the hash of the one before it.

Old rows are moved to files, from the beginning of the chain. A row of the log states the last one moved, and its hash.
So the removal of a beginning by anybody else is noticed, and the files are a part of the chain as long as they are
there.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.columns import columns_of
from rocks.core.files import draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

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


ARCHIVE = "archive_audit"
"""The action of a row that says which rows were moved to a file."""

ARCHIVED_AT_ONCE = 5000


def archive_old(session: Session, folder: Path, days: int) -> int:
    """Move rows that are older to a new file of the folder, the oldest first; how many, of 5,000 at most.

    The chain is locked until the end of the transaction. When that is not committed, the next file takes the place of
    this one. OSError, which names a file, when it cannot be written: then nothing is removed.
    """
    session.rows("SELECT name FROM lease WHERE name = 'audit' FOR UPDATE")
    limit = datetime.now(UTC) - timedelta(days=days)
    newest_seq = session.value("SELECT MAX(seq) FROM audit")  # stays: the next row follows it
    found = rows(session, limit=ARCHIVED_AT_ONCE)
    # to the last old one: a row between them may be of a moment at which the clock was ahead
    count = max((n for n, row in enumerate(found, 1) if row.at < limit and row.seq < newest_seq), default=0)
    old = found[:count]
    if not old:
        return 0
    first, last = old[0].seq, old[-1]
    folder.mkdir(mode=0o750, exist_ok=True)
    for present in folder.glob(f"audit-{first:012}-*"):
        if _first_hash(present) == old[0].hash:
            present.unlink()  # of a transaction that was not committed
        else:
            present.rename(present.with_name(f"former-{present.name}"))  # of a schema that was here before
    path = folder / f"audit-{first:012}-{last.seq:012}.json.gz"
    with draft(path) as new:
        new.write(gzip.compress("".join(map(_line_of, old)).encode("ascii")))
    session.execute("DELETE FROM audit WHERE seq <= %s", (last.seq,))
    record(session, Entry("", ARCHIVE, path.name, after=_end_of(last.seq, last.hash)))
    return len(old)


def _end_of(seq: int, digest: bytes) -> str:
    return f"to row {seq}, hash {digest.hex()}"


def _line_of(row: Row) -> str:
    hashes = row.previous_hash.hex(), row.hash.hex()
    return json.dumps([row.seq, row.at.isoformat(timespec="milliseconds"), list(row.entry), *hashes]) + "\n"


def whole_chain(session: Session, folder: Path) -> Iterator[Row]:
    """The rows of the folder's files, then those of the database, in their order; a part of them at a time.

    They are those of one moment: a row that is moved to a file meanwhile, or is in a file whose transaction was not
    committed, is read from the database. OSError and ValueError for a file that cannot be read.
    """
    session.execute("COMMIT")
    session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # of the next one
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    first = session.value("SELECT MIN(seq) FROM audit")
    for path in sorted(folder.glob("audit-*.json.gz")):
        if first is None or int(path.name.split("-")[1]) < first:
            yield from _rows_of(path)
    seq = 0
    while part := rows(session, seq):
        yield from part
        seq = part[-1].seq


def _first_hash(path: Path) -> bytes | None:
    """The hash of a file's first row; None of a damaged one."""
    try:
        return next(_rows_of(path)).hash
    except (OSError, EOFError, ValueError, TypeError, StopIteration, zlib.error):
        return None


def _rows_of(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        for line in file:
            seq, at, entry, previous, digest = json.loads(line)
            hashes = bytes.fromhex(previous), bytes.fromhex(digest)
            yield Row(seq, datetime.fromisoformat(at), Entry(*entry), *hashes)


def faults(chain: Iterable[Row]) -> Iterator[str]:
    """What is wrong with the chain, if anything: a row that was changed, removed or put in between. Pure."""
    previous, seq = _FIRST, 0
    moved, gaps = set[str](), dict[str, str]()
    for row in chain:
        if row.previous_hash != previous:
            before = f"row {seq}" if seq else "the beginning"
            gaps[row.previous_hash.hex()] = (
                f"row {row.seq} does not follow {before}: rows between them were removed or added"
            )
        if hash_of(row.at, row.entry, row.previous_hash) != row.hash:
            yield f"row {row.seq} was changed: {row.entry.action} of {row.entry.actor} at {row.at.isoformat()}"
        if row.entry.action == ARCHIVE:
            moved.add((row.entry.after or "").rpartition(" ")[2])
        previous, seq = row.hash, row.seq
    yield from (fault for digest, fault in gaps.items() if digest not in moved)
