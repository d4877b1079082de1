"""The state machine of an image's life: a record and an event in, a decision or a rejection out; pure.

It finds the row of the table, enters the row's state, applies its change and begins its step. The effects of a step
come from `nas.sequences`; `nas.engine` stores the record and has the effects performed.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, Callable, Dict, List, Mapping, Tuple, Type, Union

from rocks.core.dataclasses import dataclass
from rocks.core.errors import Code
from rocks.storage.image import grants, guards, mapping
from rocks.storage.image.blocked import BLOCK
from rocks.storage.image.effects import Effect, EnsureExportGone, EnsureGrant
from rocks.storage.image.events import (
    Configure,
    Contradicted,
    CopyFound,
    EffectDone,
    EffectFailed,
    Event,
    HostDone,
    HostFailed,
    Map,
    Restarted,
    RetryDue,
    StepDone,
    StepFailed,
)
from rocks.storage.image.grants import is_recovering
from rocks.storage.image.image import Decision, Facts, Image, Rejection, Step, Work, laid_over
from rocks.storage.image.mapping import LOCALISE, MAP
from rocks.storage.image.moves import MOVE
from rocks.storage.image.rejections import format_text, reject
from rocks.storage.image.removal import DELETE_AND_RESTORE, GROWTH
from rocks.storage.image.rows import Entry, RejectionRow, Row, outcomes_of, stays, try_again
from rocks.storage.image.states import (
    BLOCKED,
    DELETING,
    GUEST_MAY_RUN,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    STATES,
    SWITCHING,
    State,
)
from rocks.storage.image.write_back import PULL, RETURN


def configure(image: Image, event: Any, now: int) -> Decision:
    """Effective at the next unmap. A grant that is still to be written says it, too."""
    work = image.work
    if work is not None:
        effects = (
            replace(one, persistent=event.persistent) if isinstance(one, EnsureGrant) else one
            for one in work.effects
        )
        work = replace(work, effects=tuple(effects))
    configured = replace(image, persistent=event.persistent, work=work)
    return Decision(configured, outcomes_of((event.op_id,)))


def note_copy(image: Image, event: Any, now: int) -> Image:
    """The owner's answers are newer than its report; changes of another host under an old epoch are suspect."""
    if event.host == image.owner:
        return image
    known = image.copy_on(event.host)
    kind = event.kind
    is_overtaken = event.copy_epoch < image.epoch or image.owner is not None
    if kind == "dirty" and (is_overtaken or (known is not None and known.kind == "suspect")):
        kind = "suspect"
    return image.with_copy(event.host, event.pool, kind, event.guid)


def end_pause(image: Image, event: Any, now: int) -> Image:
    """The transfer that failed waits for a slot again."""
    return replace(image, retry_at=None)


def is_performing(image: Image) -> bool:
    """Whether the open step is to be performed: that of a blocked image is stored, but not performed."""
    if image.work is None or image.state != BLOCKED:
        return image.work is not None
    return image.work.step == "abandon" or is_recovering(image)


# --- rows of events that count in every state ------------------------------------------------------------------------


EVERYWHERE: Tuple[Entry, ...] = (
    *(
        stays(state, Map, "already mapped: answer with the device", mapping.already_mapped, guards.SAME_HOST)
        for state in GUEST_MAY_RUN
    ),
    *(
        stays(state, RetryDue, "repeat the step under a new number", try_again, guards.PAUSE_OVER)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING, DELETING, RESTORING, MOVING, BLOCKED)
    ),
    *(
        stays(state, RetryDue, "the next free slot counts", end_pause, guards.PAUSE_OVER)
        for state in (MAPPED, LOCAL)
    ),
    *(stays(state, Restarted, STATES[state].restart) for state in STATES),
    RejectionRow(
        REMOTE,
        Configure,
        "ZVol {image.zvol} is mapped without a copy (img_sync no): writes go to the NAS at once and cannot be "
        "discarded; unmap it first",
        guards.NOT_TO_PERSIST,
    ),
    *(stays(state, Configure, "effective at the next unmap", configure) for state in STATES),
    *(stays(state, CopyFound, "record it", note_copy) for state in STATES),
)


# --- THE TABLE of an image's life: every event in every state, and the rejections with their texts -------------------
# The entries of a pair (state, event) are tried in order, and the first whose guard holds counts; those of StepDone and
# StepFailed also name the step. A pair without an entry, or whose guards all fail, is rejected by `rejections`.


TABLE: Tuple[Union[Row, RejectionRow], ...] = (
    *MAP,
    *LOCALISE,
    *PULL,
    *RETURN,
    *BLOCK,
    *DELETE_AND_RESTORE,
    *MOVE,
    *GROWTH,
    *EVERYWHERE,
)
"""Every entry that is not one of the general rejections."""


# --- the machine -----------------------------------------------------------------------------------------------------


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
            rejection = grants.check_speaker(image, event.host, event.epoch)
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
        """The record enters the row's state, with what else is new; then the step that the row starts begins."""
        entered = image if row.to is None else row.enter(image, row.to)
        found = row.change(entered, event, now_seconds)
        decision = found if isinstance(found, Decision) else Decision(found)
        if row.to is None:
            return replace(decision, image=None)
        new = decision.image
        if row.starts is None or new is None:
            return decision
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
