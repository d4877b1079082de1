"""Runs real code as a process of the model: it stops at each step, and is run again with the results so far.

So a process is its program and the tuple of its results: a value, which a search can copy, compare and continue.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from rocks.core.errors import CLASSES, RocksError


class Failure(NamedTuple):
    """An error as a value."""

    family: str
    text: str


class Operation(NamedTuple):
    """What a process does next. `arguments` can be hashed."""

    kind: str
    arguments: tuple[Any, ...] = ()


class End(NamedTuple):
    """A process has ended."""

    result: Any


class _Suspended(BaseException):
    """Leaves real code at a step whose result is not known yet; nothing there catches it."""


class _Replay:
    def __init__(self, results: tuple[Hashable, ...]) -> None:
        self._results = iter(results)
        self.next: Operation | None = None

    def step(self, operation: Operation) -> Any:
        if self.next is None:
            for result in self._results:
                if isinstance(result, Failure):
                    raise CLASSES[result.family](result.text)
                return result
            self.next = operation
        raise _Suspended  # also from `finally` clauses on the way out


_current: _Replay | None = None


def step(kind: str, *arguments: Any) -> Any:
    """Called by the stubs below real code: the result of this step, or its error raised."""
    return _current.step(Operation(kind, arguments))


def _run(run: Callable[[Any], Any], program: Hashable, results: tuple[Hashable, ...]) -> Operation | End:
    global _current
    _current = _Replay(results)
    try:
        return End(run(program))
    except _Suspended:
        assert _current.next is not None
        return _current.next
    except RocksError as error:
        return End(failure_of(error))
    finally:
        _current = None


class Programs:
    """The points that processes have reached, as numbers: each is a program and its results so far."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self._run = run
        self._histories: list[tuple[Hashable, tuple[Hashable, ...]]] = []
        self._numbers: dict[Hashable, int] = {}
        self.next: list[Operation | End] = []

    def begin(self, program: Hashable) -> int:
        """The point at which the program has done nothing yet."""
        return self._point(program, program, ())

    def follow(self, point: int, result: Hashable) -> int:
        """The point after the result of the step at that point."""
        found = self._numbers.get((point, result))
        if found is not None:
            return found
        program, results = self._histories[point]
        return self._point((point, result), program, (*results, result))

    def _point(self, key: Hashable, program: Hashable, results: tuple[Hashable, ...]) -> int:
        if key not in self._numbers:
            self.next.append(_run(self._run, program, results))
            self._histories.append((program, results))
            self._numbers[key] = len(self._histories) - 1
        return self._numbers[key]


def failure_of(error: RocksError) -> Failure:
    """The error as a value."""
    return Failure(error.family, str(error))
