"""Waiting for what a server does, by a clock of its own: how often it is asked, and what is an answer."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from comet.client import waiting
from comet.client.errors import OperationFailedError, UnreachableError, WaitTimeoutError
from comet.client.records import Operation, Outcome, Started
from comet.client.waiting import Waiter


class Clock:
    """Time passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """A client whose answers the test gives, the last one again and again; an answer that is an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[tuple[Any, ...]]()
        self.cached_at: float | None = 5.0
        self.connection = SimpleNamespace(ask_until=math.inf)
        self.endpoint = SimpleNamespace(url="https://n/nucleus")
        self.old: list[int] = []
        """Numbers of the questions that the cache answers."""

    def _answer(self, *question: Any) -> Any:
        self.asked.append((*question, self.connection.ask_until))
        self.cached_at = 1.0 if len(self.asked) in self.old else None
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    def follow(self, operation: str, seconds: float) -> Any:
        return self._answer(operation, seconds)

    def cluster(self, name: str) -> Any:
        return self._answer(name)

    def computeset(self, number: int) -> Any:
        return self._answer(number)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    monkeypatch.setattr(waiting, "time", found)
    yield found


def operation(state: str, error: str | None = None) -> Operation:
    return Operation("7", state, "start", "vc2", error, None, None, {})


def computes(*power: str) -> tuple[Any, ...]:
    return tuple(SimpleNamespace(name=f"vm-vc2-{n}", power=one) for n, one in enumerate(power))


def test_a_server_that_holds_no_answer_back_is_asked_once_a_second(clock: Clock) -> None:
    """Until the wait ends; what was known of the cache before is known again."""
    server = Server(operation("queued"), operation("running"), operation("running"), operation("succeeded"))
    Waiter(server, 60).operation(operation("queued"))  # type: ignore[arg-type]
    assert server.asked == [("7", 60.0 - n, 160.0) for n in range(4)] and clock.slept == [1.0, 1.0, 1.0]
    assert (server.cached_at, server.connection.ask_until) == (5.0, math.inf)


def test_an_operation_that_does_not_end_or_fails_is_an_error(clock: Clock) -> None:
    waiter = Waiter(Server(operation("running")), 3)  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError, match="operation 7 is not done after 3 s; it goes on. See: comet"):
        waiter.operation(operation("queued"))
    for ended, text in (
        (operation("cancelled"), "operation 7 was cancelled$"),
        (operation("cancelled", "by bob"), "operation 7 was cancelled: by bob"),
        (operation("failed"), "operation 7 failed: the server gives no reason"),
        (operation("failed", "no host"), "operation 7 failed: no host"),
    ):
        with pytest.raises(OperationFailedError, match=text):
            waiter.operation(ended)


def test_a_start_says_what_its_computeset_waits_for(clock: Clock) -> None:
    """Once while it waits; the end of the time names the computeset."""
    one = SimpleNamespace(state="submitted", waiting="no host is free", place=2, computes=computes("off"))
    busy = Server(*[one, operation("running")] * 50)
    lines: list[str] = []
    waiter = Waiter(busy, 12, lines.append)  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError) as late:
        waiter.follow(Started(4, operation("queued")))
    assert lines == ["computeset 4: submitted; no host is free (place 2)"]
    text = "computeset 4: not running with all nodes on after 12 s; it goes on. See: comet computeset 4"
    assert str(late.value) == text
    assert max(seconds for _, seconds, _ in busy.asked[1::2]) == 4


def test_a_start_that_fails_says_why_its_operation_failed(clock: Clock) -> None:
    one = SimpleNamespace(state="failed", waiting=None, place=None, computes=computes("off"))
    waiter = Waiter(Server(one, operation("failed", "no host")), 12)  # type: ignore[arg-type]
    with pytest.raises(OperationFailedError, match="operation 7 failed: no host"):
        waiter.follow(Started(4, operation("queued")))


def test_a_server_that_is_away_or_busy_is_asked_again_until_the_time_is_over(clock: Clock) -> None:
    busy = OperationFailedError("busy")
    busy.retry_after = 7
    server = Server(UnreachableError("away"), busy, operation("succeeded"))
    Waiter(server, 60).operation(operation("queued"))  # type: ignore[arg-type]
    assert clock.slept == [1.0, 7]
    with pytest.raises(OperationFailedError, match="refused"):
        Waiter(Server(OperationFailedError("refused")), 60).operation(operation("queued"))  # type: ignore[arg-type]


def test_power_is_looked_at_less_and_less_often_and_an_old_answer_is_none(clock: Clock) -> None:
    """Names of nodes may be written with other letters."""
    off, on = (SimpleNamespace(computes=computes("on", power), frontend=None) for power in ("off", "on"))
    server = Server(*[off] * 9, on)
    server.old = [10]
    outcomes = [Outcome(name, operation("succeeded"), None) for name in ("VM-vc2-0", "vm-VC2-1")]
    Waiter(server, 600).power("vc2", outcomes, "on")  # type: ignore[arg-type]
    assert len(server.asked) == 11
    assert clock.slept == [min(4.0, 0.25 * 1.5**n) for n in range(10)]
    waiter = Waiter(Server(off), 1)  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError, match="VM-vc2-0, vm-VC2-1 of vc2: power is not on after 1 s"):
        waiter.power("vc2", outcomes, "on")


def test_a_server_that_is_away_at_the_end_of_the_wait_is_named(clock: Clock) -> None:
    """Exit status 6: whether the computeset runs is unknown. One line reports it, as soon as it is so."""
    one = SimpleNamespace(state="submitted", waiting=None, place=None, computes=computes("off"))
    old, away = Server(one), Server(UnreachableError("https://n/nucleus cannot be reached: refused"))
    old.old = list(range(2, 99))
    for server, reason in ((old, "reached"), (away, "reached: refused")):
        lines: list[str] = []
        with pytest.raises(UnreachableError) as gone:
            Waiter(server, 10, lines.append).running(5)  # type: ignore[arg-type]
        assert str(gone.value) == (
            f"https://n/nucleus cannot be {reason}. What was asked for goes on; when the server answers again: "
            "comet computeset 5"
        )
        assert lines[-1] == f"https://n/nucleus cannot be {reason}; it is asked again"
        assert len(lines) == 1 + (server is old)
    with pytest.raises(UnreachableError, match="again: comet operation show 7$"):
        Waiter(away, 3).operation(operation("queued"))  # type: ignore[arg-type]
