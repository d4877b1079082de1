"""How often an operation that failed is tried again, and when."""

import pytest

from nucleus.backends.executor import UnreachedError
from nucleus.operations.retries import UNREACHED, is_outcome, pause_seconds
from nucleus.records import Operation
from rocks.core.errors import HostError, RocksError, StateError


def _operation(kind: str, attempts: int, unreached: int = 0) -> Operation:
    empty = dict.fromkeys(Operation._fields)
    steps = [{"step": "begin"}, *[{"step": UNREACHED}] * unreached]
    return Operation(**{**empty, "kind": kind, "attempts": attempts, "progress": steps})


@pytest.mark.parametrize(
    ("error", "kind", "attempts"),
    [
        (HostError("a host"), "poweron", 3),
        (HostError("a host"), "start_member", 1),
        (StateError("refused"), "poweron", 1),
        (UnreachedError("no executor"), "poweron", 15),
        (UnreachedError("no executor"), "start_member", 15),
        (UnreachedError("no executor"), "reset", 1),
    ],
)
def test_an_operation_has_so_many_attempts(error: RocksError, kind: str, attempts: int) -> None:
    ends = [is_outcome(error, _operation(kind, number), 3) for number in range(1, 20)]
    assert ends.index(True) + 1 == attempts and all(ends[attempts - 1 :])


@pytest.mark.parametrize("unreached", [1, 5, 14])
def test_attempts_that_reached_nobody_are_none_of_those_allowed(unreached: int) -> None:
    ends = [
        is_outcome(HostError("a host"), _operation("poweron", unreached + number, unreached), 3)
        for number in (1, 2, 3)
    ]
    assert ends == [False, False, True]


def test_a_restart_of_the_executor_may_take_five_minutes() -> None:
    pauses = [pause_seconds(_operation("poweron", number)) for number in range(1, 15)]
    assert pauses[:6] == [1, 2, 4, 8, 16, 30] and 300 <= sum(pauses) < 330
