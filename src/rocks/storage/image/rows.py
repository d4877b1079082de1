"""The form of a row of the state table, short ways to write rows, and the changes that several modules use; pure.

On an event, the state machine finds the row, brings the record into the row's state by `enter`, applies the row's
`change`, and begins the step that the row starts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Callable, Optional, Tuple, Type, Union

from rocks.core.dataclasses import dataclass
from rocks.core.errors import FAMILIES
from rocks.storage.image import guards, names
from rocks.storage.image.effects import Grant
from rocks.storage.image.events import Contradicted, Event, StepDone, StepFailed
from rocks.storage.image.grants import is_recovering
from rocks.storage.image.guards import Guard
from rocks.storage.image.image import NOTHING, Decision, Image, Outcome, Step, Witness, Work
from rocks.storage.image.states import BLOCKED, RETURNING, State
from rocks.storage.image.transfers import retry_delay

REMEMBERED = "remembered"
"""In `unmap_ids` of a blocked image: it was being unmapped, and those requests have been answered."""


# --- how a record enters the state of its row ------------------------------------------------------------------------


Enter = Callable[[Image, State], Image]


def afresh(image: Image, state: State) -> Image:
    """The record in that state, with the next sequence number, without an open step, and no failures counted."""
    return fresh(enter(image, state))


def enter(image: Image, state: State) -> Image:
    """As `afresh`, but earlier failures still count."""
    return replace(
        image,
        state=state,
        sequence=image.sequence + 1,
        work=None,
        retry_at=None,
        blocked_from=None,
        disagrees="",
    )


def with_found(image: Image, state: State) -> Image:
    """As `enter`; the record also gets the volume and the base that the open step has found."""
    facts = NOTHING if image.work is None else image.work.facts
    return replace(
        enter(image, state),
        volume_guid=image.volume_guid or facts.volume_guid,
        base_name=facts.base_name or image.base_name,
        base_guid=facts.base_guid or image.base_guid,
    )


def stay(image: Image, state: State) -> Image:
    """The record in that state, with its sequence number and its open step; `blocked_from` is the state it had."""
    is_new = state == BLOCKED and image.state != BLOCKED
    return replace(image, state=state, blocked_from=image.state if is_new else image.blocked_from)


# --- what is new in a record that has entered the state of its row ---------------------------------------------------


Change = Callable[[Image, Any, int], Union[Image, Decision]]
"""(record in the row's state, event, UNIX seconds) → the changed record, in a `Decision` if there are outcomes."""


def nothing_else(image: Image, event: Any, now: int) -> Image:
    """The record as it entered the state."""
    return image


def fresh(image: Image) -> Image:
    """The record with no failures counted."""
    return replace(image, tries=0, faults=0, retry_at=None, failure_family="", reason="")


def reopened(image: Image) -> Image:
    """The record whose open step, if any, begins again at its first effect, under the record's sequence number."""
    if image.work is None:
        return image
    work = Work(image.work.step, f"{image.epoch}-{image.sequence}", image.work.effects)
    return replace(image, work=work)


def outcomes_of(
    ids: Tuple[str, ...], family: Optional[str] = None, text: str = "", device: Optional[str] = None
) -> Tuple[Outcome, ...]:
    """One outcome for each operation, all alike; `family` is that of a failure, None means success."""
    return tuple(Outcome(op_id, family, text, device) for op_id in ids if op_id)


def with_operation(ids: Tuple[str, ...], op_id: str) -> Tuple[str, ...]:
    """The operations, with this one added if it is not among them."""
    return ids if op_id in ids else (*ids, op_id)


def pool_of(image: Image) -> str:
    """The pool of the host that has the image; empty if the record names none."""
    return image.remote_pool or ""


def exported(image: Image) -> Image:
    """The record with the name of the iSCSI target of its epoch."""
    return replace(image, target=names.target_name(image.nas, image.zvol, image.epoch))


def unmapped(image: Image) -> Image:
    """The record of an image that no host has, without open operations."""
    return replace(
        image,
        owner=None,
        remote_pool=None,
        initiator=None,
        device=None,
        pending_name=None,
        operation_id="",
        unmap_ids=(),
        pull_ids=(),
        covered_ids=(),
        due_at=None,
        peer=None,
        peer_pool=None,
        move_ids=(),
        grace_seconds=0,
        at_once=False,
        copies=tuple(copy for copy in image.copies if copy.kind != "partial"),
    )


def measured(image: Image, event: Any, now: int) -> Image:
    """The record with the volume and the size that the step has found."""
    guid = image.volume_guid or event.facts.volume_guid
    return replace(image, size_bytes=event.facts.size_bytes or image.size_bytes, volume_guid=guid)


def answer(image: Image, event: Any, now: int) -> Decision:
    """The event's request has succeeded; nothing else changes."""
    return Decision(image, outcomes_of((event.op_id,)))


def operation_done(image: Image, event: Any, now: int) -> Decision:
    """The operation has succeeded, and no host has the image."""
    return Decision(unmapped(image), outcomes_of((image.operation_id,)))


def operation_failed(image: Image, event: Any, now: int) -> Decision:
    """The operation has failed, and no host has the image."""
    return Decision(unmapped(image), outcomes_of((image.operation_id,), event.family, event.message))


# --- changes after failures: try again, block, abandon ---------------------------------------------------------------


def retried_later(image: Image, event: Any, now: int) -> Image:
    """Counts the failure, and sets the time of the next attempt; only a fault counts towards blocking."""
    tries = image.tries + 1
    faults = image.faults + (0 if FAMILIES[event.family] else 1)
    return replace(image, tries=tries, faults=faults, retry_at=now + retry_delay(tries), reason=event.message)


def try_again(image: Image, event: Any, now: int) -> Image:
    """Begins the step again at its first effect, under a new sequence number."""
    return reopened(replace(image, sequence=image.sequence + 1, retry_at=None))


def block(image: Image, event: Any, now: int) -> Decision:
    """The image is blocked until an operator acts; the open step stays as it is."""
    if guards.GRANT_REFUSED.holds(image, event, now):
        return block_contradicted(image, Contradicted(event.message), now)
    return _blocked(image, event.family, event.message)


def block_contradicted(image: Image, event: Any, now: int) -> Decision:
    """The image is blocked because the volume or the host contradicts the record."""
    return _blocked(contradict(image, event, now), "incoherent", _contradiction(image, event))


def contradict(image: Image, event: Any, now: int) -> Image:
    """Records the contradiction, and who disagrees; the open step ends, unless it is a recovery."""
    work = None if is_recovering(image) else image.work
    disagrees: Witness = "host" if event.by_host else "volume"
    return replace(
        image,
        reason=_contradiction(image, event),
        failure_family="incoherent",
        work=work,
        retry_at=None,
        disagrees=disagrees,
    )


def _contradiction(image: Image, event: Any) -> str:
    what = "what the host has" if event.by_host else "what the volume says"
    return (
        f"{event.text}; `rocks clean host storagemap {image.nas} {image.zvol}` goes on with {what}, and "
        'with force=yes reason="…" gives up what no snapshot of the NAS has'
    )


def block_other_guid(image: Image, event: Any, now: int) -> Decision:
    """Blocked: the host received another snapshot than the NAS sent."""
    text = f"{image.owner} received snapshot {event.facts.guid}, not {image.base_guid}"
    return _blocked(image, "incoherent", text)


def block_unexpected_changes(image: Image, event: Any, now: int) -> Decision:
    """Blocked: the map failed, but the device had been written to before it was published."""
    return _blocked(image, "incoherent", f"the map to {image.owner} failed, but data was written there")


def _blocked(image: Image, family: str, reason: str) -> Decision:
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids, *image.move_ids)
    text = f"ZVol {image.zvol} is blocked and needs operator action: {reason}"
    blocked = replace(
        image,
        failure_family=family,
        reason=reason,
        retry_at=None,
        operation_id="",
        # nobody waits for it any more, but no guest may use the image when it goes on
        unmap_ids=(REMEMBERED,) if image.unmap_ids else (),
        pull_ids=(),
        covered_ids=(),
        move_ids=(),
    )
    return Decision(blocked, outcomes_of(waiting, family, text))


def abandon(image: Image, event: Any, now: int) -> Decision:
    """Gives up what the lost host has changed: a new epoch makes that host stale when it returns; its copy is kept.

    Operations that wait for the host fail. The new epoch exceeds that of the volume, too. If the volume names another
    host than the record, both may have changes, and both copies are marked as suspect.
    """
    standing = event.standing or Grant()
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    aborted = replace(
        with_found(image, BLOCKED),
        epoch=max(image.epoch, standing.epoch) + 1,
        blocked_from=image.blocked_from or RETURNING,
        operation_id=event.op_id,
        unmap_ids=(),
        pull_ids=(),
        covered_ids=(),
        tries=0,
        faults=0,
        reason=event.reason,
        abandon_reason=event.reason,
    )
    if image.owner is not None and image.sync:
        aborted = aborted.with_copy(image.owner, pool_of(image), "suspect", image.base_guid)
    if standing.owner is not None and standing.owner != image.owner and standing.sync:
        pool = standing.remote_pool or ""
        aborted = aborted.with_copy(standing.owner, pool, "suspect", standing.base_guid)
    text = f"ZVol {image.zvol}: the changes on {image.owner} were given up: {event.reason}"
    return Decision(aborted, outcomes_of(waiting, "host", text))


# --- the entries of the table, and how its modules write them --------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """In `state`, on `event` (of `step`, if given) and if `guard` holds, the record enters the state `to`.

    `change` then makes all other changes, and the step `starts` begins. `to` None: the record is deleted.
    """

    state: State
    event: Type[Event]
    to: Optional[State]
    sentence: str
    change: Change = nothing_else
    guard: Optional[Guard] = None
    step: Optional[Step] = None
    starts: Optional[Step] = None
    enter: Enter = afresh


@dataclass(frozen=True)
class RejectionRow:
    """In `state`, `event` changes nothing if `guard` holds. `text` may name fields of the record and of the event."""

    state: State
    event: Type[Event]
    text: str
    guard: Optional[Guard] = None
    family: str = "state"


Entry = Union[Row, RejectionRow]


def _ends(
    event: Type[Event],
    state: State,
    step: Step,
    to: Optional[State],
    sentence: str,
    change: Change = nothing_else,
    guard: Optional[Guard] = None,
    starts: Optional[Step] = None,
    enter: Enter = afresh,
) -> Row:
    return Row(state, event, to, sentence, change, guard, step, starts, enter)


done = partial(_ends, StepDone)
"""Writes the row for a step that has succeeded."""

failed = partial(_ends, StepFailed)
"""Writes the row for a step that has failed."""


def stays(
    state: State,
    event: Type[Event],
    sentence: str,
    change: Change = nothing_else,
    guard: Optional[Guard] = None,
) -> Row:
    """The row for an event that leaves the state and the open step as they are."""
    return Row(state, event, state, sentence, change, guard, enter=stay)


def blocked(
    state: State, step: Step, guard: Guard = guards.NO_MORE_TRIES, sentence: str = "needs operator action"
) -> Row:
    """The row for a failed step that blocks the image; by default when no more tries are left."""
    return failed(state, step, BLOCKED, sentence, block, guard, enter=stay)


def retried_row(state: State, step: Step) -> Row:
    """The row for a failed step that is tried again later."""
    return failed(state, step, state, "again after a pause", retried_later, enter=stay)


def retried(state: State, *steps: Step) -> Tuple[Row, ...]:
    """For each step two rows: blocked when no more tries are left, else tried again later."""
    return tuple(row for step in steps for row in (blocked(state, step), retried_row(state, step)))
