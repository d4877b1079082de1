"""Rates and progress, with a clock of the test's own."""

import pytest

from rocks.storage.stream.pace import Bucket, Meter


def test_rate_is_limited_over_time() -> None:
    """Ten megabytes at one per second take ten seconds, give or take the first burst."""
    bucket, now = Bucket(1_000_000.0), 0.0
    for _ in range(100):
        now += bucket.take(100_000, now)
    assert 9.5 <= now <= 10.0


def test_pause_is_not_followed_by_a_burst() -> None:
    """Of an unused minute, the allowance of a quarter of a second remains."""
    bucket = Bucket(1_000_000.0)
    bucket.take(1, 0.0)
    assert bucket.take(250_000, 60.0) == 0.0
    assert bucket.take(100_000, 60.0) == pytest.approx(0.1, abs=0.001)


def test_rate_is_changed_while_in_use() -> None:
    """Slower from the next part on, and unlimited again."""
    bucket = Bucket(None)
    assert bucket.take(10**9, 0.0) == 0.0
    bucket.set_rate(1000.0)
    assert bucket.take(1000, 0.0) == pytest.approx(0.75)
    bucket.set_rate(None)
    assert bucket.take(10**9, 0.0) == 0.0


def test_two_transfers_share_a_rate() -> None:
    """Each waits for the other's bytes."""
    bucket = Bucket(1000.0)
    waits = [bucket.take(500, 0.0) for _ in range(4)]
    assert waits == pytest.approx([0.25, 0.75, 1.25, 1.75])


def test_progress_has_percent_rate_and_time_left() -> None:
    """At a steady rate all three are exact; an estimate that was too low never gives more than 100 percent."""
    meter = Meter(1000, 0.0)
    for second in range(1, 6):
        progress = meter.add(100, float(second))
    assert (progress.bytes_done, progress.percent) == (500, 50.0)
    assert progress.rate == pytest.approx(100.0)
    assert progress.seconds_left == pytest.approx(5.0)
    assert meter.add(900, 6.0).percent == 100.0


def test_what_buffers_take_at_once_is_no_rate() -> None:
    """Four megabytes are gone in a moment; then the network takes 400,000 bytes a second, as the rate says at once."""
    meter = Meter(40_000_000, 0.0)
    for part in range(4):
        assert meter.add(1_000_000, part / 1000)[2:] == (0.0, None)
    for part in range(1, 20):
        progress = meter.add(1_000_000, part * 2.5)
        assert progress.rate == pytest.approx(400_000, rel=0.01)
    assert progress.seconds_left == pytest.approx(42.5, rel=0.01)
