"""A thread of rounds goes on after every error, and ends when it is closed."""

import threading
from collections.abc import Iterator

import pytest

from rocks.core.errors import HostError
from rocks.core.periodic import PeriodicThread


def test_a_round_follows_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """A known error is one line, a fault is reported with its place."""
    outcomes: Iterator[Exception] = iter((HostError("no broker"), KeyError("x")))
    reached = threading.Event()

    def one_round() -> float:
        for error in outcomes:
            raise error
        reached.set()
        return 0.0

    rounds = PeriodicThread("rounds", 0.0, one_round, "a round failed")
    rounds.start()
    assert reached.wait(60)
    rounds.close()
    first, second = caplog.records
    assert first.getMessage() == "a round failed: no broker" and first.exc_info is None
    assert second.getMessage() == "a round failed; please report this" and second.exc_info
