"""Identifiers that sort as they were made."""

import time

import pytest

from nucleus.mirror import columns
from nucleus.mirror.columns import new_ulid, oldest_ulid


def test_identifiers_of_one_process_sort_as_they_were_made() -> None:
    """Thousands come in one millisecond."""
    made = [new_ulid() for _ in range(5000)]
    assert made == sorted(set(made)) and {len(one) for one in made} == {26}


def test_a_clock_that_is_set_back_does_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    first, now = new_ulid(), time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 86_400 * 10**9)
    assert first < new_ulid()


def test_an_identifier_comes_after_that_of_another_process() -> None:
    other = "7ZZZZZZZZZ" + 15 * "Z" + "X"
    assert new_ulid(other) == other[:-1] + "Y"


def test_identifiers_of_the_last_seconds_come_after_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    oldest = oldest_ulid(60)
    for seconds, is_younger in ((59, True), (61, False)):
        monkeypatch.setattr(time, "time_ns", lambda ago=seconds: now - ago * 10**9)
        monkeypatch.setattr(columns, "_last", 0)
        assert (new_ulid() > oldest) is is_younger
