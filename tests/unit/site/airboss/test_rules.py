"""Rules of the owners' remote control: which requests are forgotten, and how many refusals are recorded."""

import pytest

from rocks.core.errors import UserError
from rocks.site.airboss.rules import QUIET_SECONDS, REFUSALS_SECONDS, Hours, Refusals, check_hour


def test_an_hour_is_past_when_its_number_of_requests_has_not_grown() -> None:
    hours = Hours()
    assert hours.past({10: 3, 8760: 1}, 0.0) == []
    assert hours.past({10: 4, 8760: 1}, QUIET_SECONDS - 1) == []
    assert hours.past({10: 4, 8760: 1}, QUIET_SECONDS) == [8760]
    assert hours.past({10: 4}, 2 * QUIET_SECONDS - 2) == []
    assert hours.past({10: 4}, 2 * QUIET_SECONDS - 1) == [10]


def test_a_service_that_begins_takes_all_hours_for_new() -> None:
    assert Hours().past({1: 1, 2: 1}, 1e9) == []


def test_a_past_hour_names_when_requests_are_accepted_again() -> None:
    check_hour(0, False)
    with pytest.raises(UserError, match=r"after 1970-01-01 03:00 UTC"):
        check_hour(2, True)


def test_refusals_of_a_minute_are_one_record_with_their_number() -> None:
    refusals: Refusals[str] = Refusals()
    assert refusals.is_first("key", "a", 0.0)
    assert not refusals.is_first("key", "b", 1.0) and not refusals.is_first("key", "c", 59.0)
    assert refusals.is_first("other", "x", 59.0), "each key has its own"
    assert refusals.take_due(59.9) == []
    assert refusals.take_due(60.0) == [(2, "c")]
    assert not refusals.is_first("key", "d", 61.0), "the record of the number began the next minute"
    assert refusals.take_due(60.0 + REFUSALS_SECONDS) == [(1, "d")]
    assert refusals.take_due(61.0 + 2 * REFUSALS_SECONDS) == [] and not refusals
    assert refusals.is_first("key", "e", 300.0)
