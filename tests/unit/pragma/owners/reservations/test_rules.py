"""When a reservation is, and what it leaves of a site."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from owners.reservations.rules import (
    MAX_DAYS,
    MAX_INTERVALS,
    Share,
    Span,
    first_conflict,
    max_used,
    spans_of,
)
from rocks.core.errors import UserError

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
SITE = 64, 192


def span(begin_hours: float, hours: float = 1) -> Span:
    begin = NOW + timedelta(hours=begin_hours)
    return Span(begin, begin + timedelta(hours=hours))


def test_the_published_site_has_48_cpus_and_188_gb_left() -> None:
    shares = [Share(span(1, 4), 16, 4)]
    assert max_used(shares, span(2)) == (16, 4)
    assert first_conflict(SITE, shares, [span(2)], (48, 188)) is None
    assert first_conflict(SITE, shares, [span(2)], (49, 1)) == (span(2), 48, 188)
    assert first_conflict(SITE, shares, [span(2)], (1, 189)) == (span(2), 48, 188)


def test_the_end_is_free_for_the_next() -> None:
    shares = [Share(span(1), 64, 1), Share(span(2), 64, 1)]
    assert max_used(shares, span(0.5, 3)) == (64, 2 - 1)
    assert max_used(shares, span(3)) == (0, 0) == max_used(shares, span(0))


def test_each_interval_is_checked() -> None:
    shares = [Share(span(49), 60, 1)]
    spans = spans_of(span(1), "daily", NOW + timedelta(days=5), NOW, 2880)
    assert first_conflict(SITE, shares, spans, (5, 5)) == (span(49), 4, 191)


def test_what_is_used_is_what_counting_each_minute_finds() -> None:
    chosen = random.Random(9)
    for _ in range(200):
        shares = [
            Share(
                span(chosen.randrange(20), chosen.randrange(1, 6)), chosen.randrange(9), chosen.randrange(9)
            )
            for _ in range(chosen.randrange(12))
        ]
        asked = span(chosen.randrange(20), chosen.randrange(1, 8))
        counted = [(0, 0)]
        for quarter in range(int((asked.end - asked.begin).total_seconds()) // 900):
            at = asked.begin + timedelta(minutes=15 * quarter)
            used = [one for one in shares if one.span.begin <= at < one.span.end]
            counted.append((sum(one.cpus for one in used), sum(one.memory_gb for one in used)))
        expected = max(cpus for cpus, _ in counted), max(memory for _, memory in counted)
        assert max_used(shares, asked) == expected


@pytest.mark.parametrize(
    ("first", "repeat", "until_days", "part"),
    [
        (Span(NOW + timedelta(hours=2), NOW + timedelta(hours=1)), None, None, "later end"),
        (span(1, 0.2), None, None, "later end"),
        (span(-1, 5), None, None, "is past"),
        (span(1, 100), None, None, "earlier end"),
        (span(1), "daily", None, "needs both"),
        (span(1), None, 7, "needs both"),
        (span(1, 30), "daily", 7, "longer than the time"),
        (span(1), "daily", 0, "0 intervals"),
        (span(1), "daily", MAX_INTERVALS + 1, f"{MAX_INTERVALS + 1} intervals"),
        (span(1), "daily", 2e6, f"{MAX_DAYS} days"),
        (span(24 * (MAX_DAYS + 1)), None, None, f"{MAX_DAYS} days"),
    ],
)
def test_times_that_cannot_be(first: Span, repeat: str | None, until_days: float | None, part: str) -> None:
    until = None if until_days is None else NOW + timedelta(days=until_days)
    with pytest.raises(UserError, match=part):
        spans_of(first, repeat, until, NOW, 2880)


def test_repetitions_begin_before_their_last_moment() -> None:
    zone = timezone(timedelta(hours=9))
    first = Span(span(1).begin.astimezone(zone), span(1).end.astimezone(zone))
    weekly = spans_of(first, "weekly", span(1 + 14 * 24).begin, NOW, 2880)
    assert weekly == [span(1), span(1 + 7 * 24)] and all(it.tzinfo is UTC for one in weekly for it in one)
    assert len(spans_of(first, "weekly", span(1.1 + 14 * 24).begin, NOW, 2880)) == 3
    assert spans_of(span(-0.01), None, None, NOW, 2880) == [span(-0.01)], "clocks differ"
