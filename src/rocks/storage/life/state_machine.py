"""The state machine of an image's life: a record and an event in, a decision or a rejection out; pure.

It finds the row of the table, applies the row's transition and begins the step that the row starts. The effects of a
step come from `nas.sequences`; `nas.engine` stores the record and has the effects performed.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, Callable, Dict, List, Mapping, Tuple, Type, Union

from rocks.core.dataclasses import dataclass
from rocks.core.errors import BugError, Code
from rocks.storage.life import fencing
from rocks.storage.life.effects import Effect, EnsureExportGone
from rocks.storage.life.events import (
    Contradicted,
    EffectDone,
    EffectFailed,
    Event,
    HostDone,
    HostFailed,
    StepDone,
    StepFailed,
)
from rocks.storage.life.facts import Facts, laid_over
from rocks.storage.life.image import Decision, Image, Rejection, Step, Work
from rocks.storage.life.rejections import format_text, reject
from rocks.storage.life.states import State
from rocks.storage.life.table import TABLE
from rocks.storage.life.table.rows import RejectionRow, Row
from rocks.storage.life.transitions.everywhere import is_performing

Entries = Dict[Tuple[State, Type[Event]], List[Union[Row, RejectionRow]]]
Result = Union[EffectDone, EffectFailed, HostDone, HostFailed]

Sequence = Callable[[Image, Any, int], Tuple[Effect, ...]]
"""The effects of a step, in order, from the new record, the event that began the step and the UNIX time."""


def entries_by_pair() -> Entries:
    """The table's entries by state and event, in their order."""
    entries: Entries = {}
    for entry in TABLE:
        entries.setdefault((entry.state, entry.event), []).append(entry)
    return entries


def is_ready(image: Image) -> bool:
    """Whether the record has an open effect that must be performed, or awaited, now."""
    return is_performing(image) and image.retry_at is None


@dataclass(frozen=True)
class StateMachine:
    """The table and the sequences that its steps stand for."""

    sequences: Mapping[Step, Sequence]
    entries: Entries = field(default_factory=entries_by_pair)

    def decide(self, image: Image, event: Event, now_seconds: int) -> Union[Decision, Rejection]:
        """The consequence of `event`; `now_seconds` is UNIX time.

        The daemon stores the new record before it performs the first effect. A rejection changes nothing.
        """
        if isinstance(event, (HostDone, HostFailed)):
            rejection = fencing.check_speaker(image, event.host, event.epoch)
            if rejection is not None:
                return rejection
        if isinstance(event, (EffectDone, EffectFailed, HostDone, HostFailed)):
            return self._take_result(image, event, now_seconds)
        return self._look_up(image, event, now_seconds)

    def _take_result(self, image: Image, event: Result, now_seconds: int) -> Union[Decision, Rejection]:
        work = image.work
        if work is None or _is_overtaken(image, work, event):
            text = f"ZVol {image.zvol}: work {event.work_id} is not open (any more)"
            return Rejection("state", text, is_stale=True)
        # the host rejects the newest request because of what it has done since: the record is older than the host's
        if isinstance(event, HostFailed) and event.code == Code.HOST_AHEAD.value:
            text = f"{event.host} has gone further than the NAS's records: {event.message}"
            return self._look_up(image, Contradicted(text, by_host=True), now_seconds)
        if isinstance(event, (EffectFailed, HostFailed)):
            return self._look_up(
                image, StepFailed(work.step, event.family, event.message, event.code), now_seconds
            )
        return self._advance(image, work, event.facts, now_seconds)

    def _advance(
        self, image: Image, work: Work, facts: Facts, now_seconds: int
    ) -> Union[Decision, Rejection]:
        """One effect is done: the next one is open, or the step is done."""
        known = laid_over(work.facts, facts)
        if isinstance(work.effects[work.position], EnsureExportGone):
            image = replace(image, target=None)
        if work.position + 1 < len(work.effects):
            return Decision(replace(image, work=replace(work, position=work.position + 1, facts=known)))
        return self._look_up(image, StepDone(work.step, known), now_seconds)

    def _look_up(self, image: Image, event: Event, now_seconds: int) -> Union[Decision, Rejection]:
        step = getattr(event, "step", None)
        for entry in self.entries.get((image.state, type(event)), ()):
            if isinstance(entry, Row) and entry.step != step:
                continue
            if entry.guard is not None and not entry.guard.holds(image, event, now_seconds):
                continue
            if isinstance(entry, RejectionRow):
                return Rejection(entry.family, format_text(entry.text, image, event))
            return self._apply(entry, image, event, now_seconds)
        return reject(image, event)

    def _apply(self, row: Row, image: Image, event: Event, now_seconds: int) -> Decision:
        """The row's transition, then the step that the row starts."""
        decision = _checked(row, row.change(image, event, now_seconds))
        if row.starts is None or decision.image is None:
            return decision
        new = decision.image
        effects = self.sequences[row.starts](new, event, now_seconds)
        work = Work(row.starts, f"{new.epoch}-{new.sequence}", effects)
        return replace(decision, image=replace(new, work=work))


def _is_overtaken(image: Image, work: Work, event: Result) -> bool:
    """Whether the result is not of the effect that is open."""
    if work.work_id != event.work_id or not is_performing(image):
        return True
    if isinstance(event, (HostDone, HostFailed)) != (work.asked is not None):
        return True
    if isinstance(event, (EffectDone, EffectFailed)) and event.position != work.position:
        return True
    return isinstance(event, (EffectFailed, HostFailed)) and image.retry_at is not None


def _checked(row: Row, decision: Decision) -> Decision:
    """The page shows the table, so a transition must not lead to any other state."""
    state = None if decision.image is None else decision.image.state
    if state != row.to:
        raise BugError(
            f"the row {row.state} {row.event.__name__} leads to {state}, not to {row.to}; please report this"
        )
    return decision
