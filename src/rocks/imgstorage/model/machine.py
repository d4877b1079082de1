"""The image's state machine as a function: a record and an event in, a decision or a refusal out; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Tuple, Type, Union

from rocks.errors import BugError
from rocks.imgstorage.model import changes, fencing
from rocks.imgstorage.model.effects import EnsureExportGone
from rocks.imgstorage.model.events import (
    EffectDone,
    EffectFailed,
    Event,
    HostDone,
    HostFailed,
    StepDone,
    StepFailed,
)
from rocks.imgstorage.model.facts import Facts, laid_over
from rocks.imgstorage.model.image import Decision, Image, Refusal, Work
from rocks.imgstorage.model.refusals import refuse, worded
from rocks.imgstorage.model.states import State
from rocks.imgstorage.model.table import TABLE, Refuse, Row

Entries = Dict[Tuple[State, Type[Event]], List[Union[Row, Refuse]]]


def entries_by_pair(table: Tuple[Union[Row, Refuse], ...] = TABLE) -> Entries:
    """The table's entries by state and event, in their order."""
    entries: Entries = {}
    for entry in table:
        entries.setdefault((entry.state, entry.event), []).append(entry)
    return entries


_ENTRIES = entries_by_pair()


def decide(image: Image, event: Event, now_seconds: int, entries: Entries = _ENTRIES) -> Decision | Refusal:
    """What follows from `event`; `now_seconds` is UNIX time.

    The daemon stores the new record before it does the first of the effects. A refusal changes nothing.
    """
    if isinstance(event, (HostDone, HostFailed)):
        refusal = fencing.check_speaker(image, event.host, event.epoch)
        if refusal is not None:
            return refusal
    if isinstance(event, (EffectDone, EffectFailed, HostDone, HostFailed)):
        return _take_result(image, event, now_seconds, entries)
    return _look_up(image, event, now_seconds, entries)


def is_ready(image: Image) -> bool:
    """Whether the record has an open effect that is to be done, or waited for, now."""
    return changes.is_performing(image) and image.retry_at is None


def _take_result(
    image: Image,
    event: Union[EffectDone, EffectFailed, HostDone, HostFailed],
    now_seconds: int,
    entries: Entries,
) -> Decision | Refusal:
    work = image.work
    is_answer = isinstance(event, (HostDone, HostFailed))
    if work is None or work.work_id != event.work_id or not changes.is_performing(image):
        return _overtaken(image, event)
    if is_answer != (work.asked is not None):
        return _overtaken(image, event)
    if isinstance(event, (EffectDone, EffectFailed)) and event.position != work.position:
        return _overtaken(image, event)
    if isinstance(event, (EffectFailed, HostFailed)):
        if image.retry_at is not None:
            return _overtaken(image, event)
        return _look_up(image, StepFailed(work.step, event.family, event.message), now_seconds, entries)
    return _advance(image, work, event.facts, now_seconds, entries)


def _advance(
    image: Image, work: Work, facts: Facts, now_seconds: int, entries: Entries
) -> Decision | Refusal:
    """One effect is done: on to the next, or the step is done."""
    known = laid_over(work.facts, facts)
    if isinstance(work.effects[work.position], EnsureExportGone):
        image = replace(image, target=None)
    if work.position + 1 < len(work.effects):
        return Decision(replace(image, work=replace(work, position=work.position + 1, facts=known)))
    return _look_up(image, StepDone(work.step, known), now_seconds, entries)


def _look_up(image: Image, event: Event, now_seconds: int, entries: Entries) -> Decision | Refusal:
    step = getattr(event, "step", None)
    for entry in entries.get((image.state, type(event)), ()):
        if isinstance(entry, Row) and entry.step != step:
            continue
        if entry.guard is not None and not entry.guard.holds(image, event, now_seconds):
            continue
        if isinstance(entry, Refuse):
            return Refusal(entry.family, worded(entry.text, image, event))
        return _checked(entry, entry.change(image, event, now_seconds))
    return refuse(image, event)


def _checked(row: Row, decision: Decision) -> Decision:
    """The table is what is drawn and read, so no change may lead anywhere else."""
    state = None if decision.image is None else decision.image.state
    if state != row.to:
        raise BugError(
            f"the row {row.state} {row.event.__name__} leads to {state}, not to {row.to}; please report this"
        )
    return decision


def _overtaken(image: Image, event: Event) -> Refusal:
    number = getattr(event, "work_id", "")
    return Refusal("state", f"ZVol {image.zvol}: work {number} is not open (any more)", is_stale=True)
