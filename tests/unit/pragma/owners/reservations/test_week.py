"""What the parts of a time have left of a site."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from owners.reservations.rules import Share, Span, max_used, max_used_in_each, max_used_in_parts

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)
WEEK = Span(MONDAY, MONDAY + timedelta(days=7))


def span(begin_hours: float, hours: float) -> Span:
    begin = MONDAY + timedelta(hours=begin_hours)
    return Span(begin, begin + timedelta(hours=hours))


def test_each_hour_has_what_it_has_alone() -> None:
    chosen = random.Random(30)
    shares = [
        Share(span(chosen.randrange(-40, 700) / 4, chosen.randrange(1, 80) / 4), chosen.randrange(9), 1)
        for _ in range(300)
    ]
    alone = [max_used(shares, span(hour, 1)) for hour in range(168)]
    assert max_used_in_parts(shares, WEEK, 168) == alone
    assert max_used_in_each(shares, [span(hour, 1) for hour in range(0, 168, 5)]) == alone[::5]


def test_an_hour_counts_its_worst_moment_and_no_neighbour() -> None:
    shares = [Share(span(1, 0.25), 8, 1), Share(span(1.25, 0.25), 8, 2), Share(span(1.75, 0.25), 9, 0)]
    assert max_used_in_parts(shares, span(0, 3), 3) == [(0, 0), (9, 2), (0, 0)]
