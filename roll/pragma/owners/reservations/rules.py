"""When a reservation is, and whether a site has room for it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STOP_SECONDS = 600
"""How long before its end the cluster of a reservation is stopped."""

MIN_MINUTES = 15
"""Of an interval: a cluster needs some minutes beside those in which it is stopped."""

MAX_INTERVALS = 100
"""Of a reservation, and of all of a user that have not ended."""

MAX_DAYS = 366
"""Until the begin of the last interval."""
EVERY = {"daily": timedelta(days=1), "weekly": timedelta(weeks=1)}
_LATE = timedelta(minutes=1)
"""How long ago a reservation that begins now may begin: clocks differ."""


class Span(NamedTuple):
    """A time, in UTC, whose end is not part of it."""

    begin: datetime
    end: datetime


class Share(NamedTuple):
    """What is used of a site for a time."""

    span: Span
    cpus: int
    memory_gb: int


def spans_of(
    first: Span, repeat: str | None, until: datetime | None, now: datetime, max_minutes: int
) -> list[Span]:
    """The intervals of a reservation, in their order; the last one begins before `until`.

    UserError for times that cannot be reserved. They repeat at the same time of day in UTC.
    """
    first = Span(first.begin.astimezone(UTC), first.end.astimezone(UTC))
    length = first.end - first.begin
    if length < timedelta(minutes=MIN_MINUTES):
        raise UserError(
            f"a reservation ends {MIN_MINUTES} minutes after its begin or later; choose a later end"
        )
    if length > timedelta(minutes=max_minutes):
        raise UserError(
            f"a reservation lasts {max_minutes} minutes at most at this service; choose an earlier end"
        )
    if first.begin < now - _LATE:
        raise UserError("the begin of the reservation is past; choose a later one")
    if max(first.begin, until or first.begin) > now + timedelta(days=MAX_DAYS):
        raise UserError(f"a reservation begins within {MAX_DAYS} days; choose an earlier begin, or until")
    if (repeat is None) != (until is None):
        raise UserError(
            "a reservation that repeats needs both: repeat (daily, weekly), and until, before which the last one begins"
        )
    if repeat is None or until is None:
        return [first]
    return _repeated(first, EVERY[repeat], until)


def _repeated(first: Span, every: timedelta, until: datetime) -> list[Span]:
    if first.end - first.begin > every:
        raise UserError(
            "the reservation is longer than the time after which it repeats; choose an earlier end"
        )
    count = (until - first.begin + every - timedelta(microseconds=1)) // every
    if not 1 <= count <= MAX_INTERVALS:
        raise UserError(
            f"the reservation would have {max(count, 0)} intervals: 1 to {MAX_INTERVALS} are possible; choose another"
            " until"
        )
    return [Span(first.begin + every * number, first.end + every * number) for number in range(count)]


def max_used(shares: Iterable[Share], span: Span) -> tuple[int, int]:
    """The most CPUs, and the most GB of memory, that are used at one moment of the span."""
    (found,) = max_used_in_each(shares, [span])
    return found


def max_used_in_parts(shares: Iterable[Share], span: Span, count: int) -> list[tuple[int, int]]:
    """As `max_used`, for each of so many equal parts of the span."""
    ends = [span.begin + (span.end - span.begin) / count * number for number in range(count + 1)]
    return max_used_in_each(shares, [Span(*part) for part in pairwise(ends)])


def max_used_in_each(shares: Iterable[Share], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """As `max_used`, for each span; they are in their order, and do not overlap."""
    changes = sorted(
        change
        for share in shares
        for change in (
            (share.span.begin, True, share.cpus, share.memory_gb),
            (share.span.end, False, -share.cpus, -share.memory_gb),  # an end comes first: False < True
        )
    )
    cpus = memory_gb = position = 0
    found = []
    for begin, end in spans:
        while position < len(changes) and changes[position][0] <= begin:
            cpus, memory_gb = cpus + changes[position][2], memory_gb + changes[position][3]
            position += 1
        max_cpus, max_memory_gb = cpus, memory_gb
        while position < len(changes) and changes[position][0] < end:
            cpus, memory_gb = cpus + changes[position][2], memory_gb + changes[position][3]
            max_cpus, max_memory_gb = max(max_cpus, cpus), max(max_memory_gb, memory_gb)
            position += 1
        found.append((max_cpus, max_memory_gb))
    return found


def first_conflict(
    size: tuple[int, int], shares: Sequence[Share], spans: Sequence[Span], requested: tuple[int, int]
) -> tuple[Span, int, int] | None:
    """The first span without room, and what is left in it. `size`, `requested`: CPUs and GB of memory.

    The spans are as those of `max_used_in_each`.
    """
    for span, used in zip(spans, max_used_in_each(shares, spans), strict=True):
        left = size[0] - used[0], size[1] - used[1]
        if requested[0] > left[0] or requested[1] > left[1]:
            return span, max(left[0], 0), max(left[1], 0)
    return None
