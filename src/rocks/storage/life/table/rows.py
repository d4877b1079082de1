"""The entries of the table, and how its modules write them; pure."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple, Type, Union

from rocks.core.dataclasses import dataclass
from rocks.storage.life import guards
from rocks.storage.life.events import Event, StepDone, StepFailed
from rocks.storage.life.guards import Guard
from rocks.storage.life.image import Decision, Image, Step
from rocks.storage.life.states import BLOCKED, RETURNING, State
from rocks.storage.life.transitions import blocked, write_back

Change = Callable[[Image, Any, int], Decision]


@dataclass(frozen=True)
class Row:
    """In `state`, on `event` (of `step`) and if `guard` holds: `change` leads to `to`, and the state
    machine then begins the step `starts`.

    `to` None: the record is deleted.
    """

    state: State
    event: Type[Event]
    to: Optional[State]
    sentence: str
    change: Change
    guard: Optional[Guard] = None
    step: Optional[Step] = None
    starts: Optional[Step] = None


@dataclass(frozen=True)
class RejectionRow:
    """In `state`, `event` changes nothing if `guard` holds. `text` may name fields of the record and of the event."""

    state: State
    event: Type[Event]
    text: str
    guard: Optional[Guard] = None
    family: str = "state"


Entry = Union[Row, RejectionRow]


def done(
    state: State,
    step: Step,
    to: Optional[State],
    sentence: str,
    change: Change,
    guard: Optional[Guard] = None,
    starts: Optional[Step] = None,
) -> Row:
    """The row of a step that has succeeded."""
    return Row(state, StepDone, to, sentence, change, guard, step, starts)


def failed(
    state: State,
    step: Step,
    to: State,
    sentence: str,
    change: Change,
    guard: Optional[Guard] = None,
    starts: Optional[Step] = None,
) -> Row:
    """The row of a step that has failed."""
    return Row(state, StepFailed, to, sentence, change, guard, step, starts)


def then_unmap(end: Callable[..., Row], state: State, step: Step, sentence: str) -> Row:
    """The row of a step that ends, as `done` or `failed`, while an unmap waits: it begins with the device."""
    return end(state, step, RETURNING, sentence, write_back.begin_unmap, guards.UNMAP_WAITS, "detach")


def retried(state: State, *steps: Step) -> Tuple[Row, ...]:
    """A step that fails is tried again in its state; the image is blocked when trying again cannot help."""
    rows = []
    for step in steps:
        rows.append(
            failed(state, step, BLOCKED, "needs operator action", blocked.block, guards.NO_MORE_TRIES)
        )
        rows.append(failed(state, step, state, "again after a pause", blocked.try_later))
    return tuple(rows)
