"""Entries of the audit log, and whether a chain of them is as it was written. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_ACTION = 12_000
"""Characters of a command; MariaDB's TEXT has 65,535 bytes."""

_LIMITS = (32, 255, 255, 255, LONGEST_ACTION, None, 64, 128, 64)


class Entry(NamedTuple):
    """What an entry records. `concerns` is the number of the entry whose outcome this one is."""

    time: str
    """UTC, `2026-11-22 03:49:29.123`."""
    concerns: int | None
    source: str
    """`command`, `control`, `service` or `nucleus`."""
    person: str
    account: str
    origin: str
    action: str
    exit_status: int | None
    """None: the outcome was not known yet."""
    error: str
    """Family of the error, and its code if it has one: `busy`, `busy/image_busy`; '' without one."""
    roll: str
    version: str

    def content(self) -> str:
        """The text under the digest: JSON in ASCII."""
        return json.dumps(list(self), separators=(",", ":"))


class Head(NamedTuple):
    """Number and digest of the last entry."""

    number: int
    digest: str


class StoredEntry(NamedTuple):
    """An entry as it is in the log."""

    number: int
    entry: Entry
    digest: str


START = Head(0, "0" * 64)
"""The head before the first entry."""


def fit(entry: Entry) -> Entry:
    """The entry with texts that fit their columns; what was cut ends with an ellipsis."""
    texts = [
        value if limit is None or not isinstance(value, str) else _cut(value, limit)
        for value, limit in zip(entry[2:], _LIMITS, strict=True)
    ]
    return Entry(entry.time, entry.concerns, *texts)  # type: ignore[arg-type]  # same types as before


def _cut(text: str, limit: int) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def digest_after(previous: str, number: int, entry: Entry) -> str:
    """The digest of an entry that follows one with the digest `previous`: SHA-256, as the database computes it."""
    return _sha256(f"{previous} {number} {_sha256(entry.content())}")


def added_again(stored: Iterable[StoredEntry]) -> Iterator[tuple[Entry, str]]:
    """The entries of a whole log, each with the digest from which the database computes that of the stored entry.

    For an entry that does not fit its digest, it is one with which it does not fit either.
    """
    last = START
    for number, entry, digest in stored:
        fits = number == last.number + 1 and digest == digest_after(last.digest, number, entry)
        yield entry, _sha256(entry.content()) if fits else digest
        last = Head(number, digest)


def _sha256(text: str) -> str:
    from hashlib import sha256  # only a check of the log, and a restore, pay for it

    return sha256(text.encode("ascii")).hexdigest()


def chain_faults(stored: Iterable[StoredEntry], head: Head | None) -> Iterator[str]:
    """A sentence for each place at which the log is not as it was written; none for a complete chain.

    `stored` is in the order of numbers, and ends with that of the head. An entry is compared with the digest before it,
    so one altered entry is one fault, and a digest that was made anew is found at the next entry.
    """
    last = START
    for number, entry, digest in stored:
        if number > last.number + 1:
            yield _missing(last.number + 1, number - 1)
        elif digest != digest_after(last.digest, number, entry):
            yield (
                f"entry {number} does not fit its digest: it was altered or moved"
                + (f", or entry {last.number} was replaced" if last.number else "")
            )
        last = Head(number, digest)
    if head is None:
        yield "the head is missing: the row of sec_audit_head"
    elif head.number > last.number:
        yield _missing(last.number + 1, head.number)
    elif head != last:
        yield f"the head names entry {head.number} with digest {head.digest}, but the last entry is {last.number}"


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


_AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?Z?", re.ASCII)


def read_moment(name: str, text: str, now: datetime) -> str:
    """A moment in UTC as `2026-11-22 03:49:29`; '' for ''. UserError unless it is a date, a time, or a span ago."""
    if not text:
        return ""
    try:
        if found := _AGO.fullmatch(text):
            moment = now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        elif _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text.removesuffix("Z"))
        else:
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(
            f'"{name}" must be a moment in UTC such as 2026-11-22 or 2026-11-22T03:49, or a span before now such as '
            f'90m, 12h or 7d, not "{printable(text)}"'
        ) from None
    return moment.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
