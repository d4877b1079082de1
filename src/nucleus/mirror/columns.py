"""What several queries share: who may see a cluster, JSON in columns, identifiers that sort by time."""

from __future__ import annotations

import json
import os
import string
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nucleus.records import Scope

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE_32 = str.maketrans(_ALPHABET, string.digits + string.ascii_lowercase[:22])
"""To the digits that `int` reads."""

_lock = threading.Lock()
_last = 0


def new_ulid(after: str | None = None) -> str:
    """26 characters that sort by their millisecond, with 80 random bits: as the ULID specification has them.

    Those of one process sort in the order of the calls, also within a millisecond and when the clock is set back; with
    `after`, the new one comes after that of another process, too.
    """
    global _last
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    with _lock:
        number = _last = max(number, _last + 1, int(after.translate(_BASE_32), 32) + 1 if after else 0)
    return _text_of(number)


def oldest_ulid(seconds: int) -> str:
    """What identifiers of the last seconds come after."""
    return _text_of((time.time_ns() // 1_000_000 - seconds * 1000) << 80)


def _text_of(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def visible(scope: Scope, column: str = "c.project_id") -> tuple[str, list[Any]]:
    """The condition under which the asker may see what `column` has the project of, and its values."""
    if scope.is_operator:
        return "TRUE", []
    if not scope.projects:
        return "FALSE", []
    return f"{column} IN ({placeholders(scope.projects)})", sorted(scope.projects)


def columns_of(table: str, fields: Iterable[str]) -> str:
    """The columns of a table that the fields of a record are called by."""
    return ", ".join(f"{table}.{name}" for name in fields)


def placeholders(values: Iterable[Any]) -> str:
    """`%s, %s` for so many values; for none something that no column equals."""
    return ", ".join("%s" for _ in values) or "NULL"


def same_name(stored: str, given: str) -> bool:
    """Whether the name that was given is the stored one: in whatever case, and otherwise exactly.

    The collation of the database also finds names with other accents, or with blanks at the end.
    """
    return stored.casefold() == given.casefold()


def to_json(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_json(text: str | bytes | None) -> Any:
    """What a JSON column has; None for NULL."""
    return None if text is None else json.loads(text)


def in_one(columns: str) -> str:
    """A list of columns as one, whose text `from_json` reads: moments are texts in it, for `moment_of`.

    For questions that every request asks: the driver works on each column of an answer for 6 µs.
    """
    return f"JSON_ARRAY({columns})"


def moment_of(text: str | None) -> datetime | None:
    """The aware moment of a DATETIME as the server writes it into JSON."""
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")
