"""Deadlines of tests: never shorter than written, longer on a slow or busy machine, never beyond all bounds."""

import os
import signal

import pytest

from tests import patience as patience_module
from tests.conftest import SECONDS_OF_A_TEST, pytest_runtest_call
from tests.patience import MAX_FACTOR, REFERENCE_SECONDS, VARIABLE, factor, patience


@pytest.mark.parametrize(
    ("slowness", "waiting", "expected"),
    [(1, 0, 1), (0.5, 0.5, 1), (2, 0.5, 2), (1, 4, 4), (2, 3, 6), (0.5, 4, 4), (4, 4, MAX_FACTOR)],
)
def test_a_slow_and_a_busy_machine_have_longer_deadlines(slowness, waiting, expected) -> None:
    assert factor(slowness * REFERENCE_SECONDS, waiting) == pytest.approx(expected)


def test_the_factor_is_of_this_machine_and_its_load(monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert 7 <= patience(7) <= 7 * MAX_FACTOR
    monkeypatch.setattr(patience_module, "_speed_seconds", lambda: 2 * REFERENCE_SECONDS)
    monkeypatch.setattr(os, "getloadavg", lambda: (6.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert patience(7) == pytest.approx(42)


def test_the_speed_is_measured_once(monkeypatch) -> None:
    first = patience_module._speed_seconds()
    monkeypatch.setattr(patience_module, "_loop_seconds", lambda: pytest.fail("measured again"))
    assert patience_module._speed_seconds() == first > 0


def test_the_variable_sets_the_factor(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "2.5")
    assert patience(4) == 10


@pytest.mark.parametrize("text", ["much", "0.5", "-1", "nan", "inf"])
def test_a_variable_that_is_no_factor_is_named(monkeypatch, text) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=VARIABLE):
        patience(1)


def test_a_test_without_an_end_fails_where_it_waits(request: pytest.FixtureRequest) -> None:
    call = pytest_runtest_call(request.node)
    next(call)
    seconds, _ = signal.getitimer(signal.ITIMER_REAL)
    assert seconds > SECONDS_OF_A_TEST / 2
    with pytest.raises(pytest.fail.Exception, match="it has not ended after"):
        signal.raise_signal(signal.SIGALRM)
    with pytest.raises(StopIteration):
        next(call)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
