"""The rows of the table and how its modules write them, and the changes that rows of several subjects share; pure.

A change takes the record, the event and the time (UNIX seconds), and returns a Decision. The state machine begins the
step that the row starts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Optional, Tuple, Type, Union

from rocks.core.dataclasses import dataclass
from rocks.core.errors import FAMILIES
from rocks.storage.image import guards, names
from rocks.storage.image.effects import Grant
from rocks.storage.image.events import Contradicted, Event, StepDone, StepFailed
from rocks.storage.image.grants import is_recovering
from rocks.storage.image.guards import Guard
from rocks.storage.image.image import NOTHING, Decision, Image, Outcome, Step, Witness, Work
from rocks.storage.image.states import BLOCKED, RETURNING, UNMAPPED, State
from rocks.storage.image.transfers import retry_delay

REMEMBERED = "remembered"
"""In the place of the operations of unmaps that were answered already: the image was blocked."""


def enter(image: Image, state: State) -> Image:
    """The record in a state, with the next number and no open step."""
    return replace(
        image,
        state=state,
        sequence=image.sequence + 1,
        work=None,
        retry_at=None,
        blocked_from=None,
        disagrees="",
    )


def fresh(image: Image) -> Image:
    """The record without its counts of failures."""
    return replace(image, tries=0, faults=0, retry_at=None, failure_family="", reason="")


def into(state: State) -> Callable[[Image, Any, int], Decision]:
    """The transition into a state, and no more; of a step that has succeeded."""
    return lambda image, event, now: Decision(fresh(enter(image, state)))


def reopened(image: Image, work: Work) -> Image:
    """The record with that step open again from its first effect, under the record's number."""
    return replace(image, work=Work(work.step, f"{image.epoch}-{image.sequence}", work.effects))


def outcomes_of(
    ids: Tuple[str, ...], family: Optional[str] = None, text: str = "", device: Optional[str] = None
) -> Tuple[Outcome, ...]:
    """The same outcome of each operation; of a failure with its family."""
    return tuple(Outcome(op_id, family, text, device) for op_id in ids if op_id)


def with_operation(ids: Tuple[str, ...], op_id: str) -> Tuple[str, ...]:
    """The operations with one more, unless it is among them."""
    return ids if op_id in ids else (*ids, op_id)


def pool_of(image: Image) -> str:
    """The pool of the host's copy; empty without one."""
    return image.remote_pool or ""


def with_found(before: Image, image: Image) -> Image:
    """The record with the volume and the base that the open step has found."""
    facts = NOTHING if before.work is None else before.work.facts
    return replace(
        image,
        volume_guid=before.volume_guid or facts.volume_guid,
        base_name=facts.base_name or before.base_name,
        base_guid=facts.base_guid or before.base_guid,
    )


def unmapped(image: Image) -> Image:
    """The record of an image that no host has, without open operations."""
    copies = tuple(copy for copy in image.copies if copy.kind != "partial")
    return replace(
        fresh(enter(image, UNMAPPED)),
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
        copies=copies,
    )


def retried_later(image: Image, before: Image, event: Any, now: int) -> Image:
    """The record with one more failure than before, and the time of the next attempt."""
    tries = before.tries + 1
    faults = before.faults + (0 if FAMILIES[event.family] else 1)
    return replace(image, tries=tries, faults=faults, retry_at=now + retry_delay(tries), reason=event.message)


def exported(image: Image) -> Image:
    """The image under the name of its grant's iSCSI target."""
    return replace(image, target=names.target_name(image.nas, image.zvol, image.epoch))


# --- changes after failures: try again, block, abandon ---------------------------------------------------------------


def try_later(image: Image, event: Any, now: int) -> Decision:
    """The same step again, after a pause."""
    return Decision(retried_later(image, image, event, now))


def publish_and_try_later(image: Image, event: Any, now: int) -> Decision:
    """The same; the failure of a map is published before it is undone."""
    outcomes = outcomes_of((image.operation_id,), image.failure_family, image.reason)
    return Decision(replace(retried_later(image, image, event, now), operation_id=""), outcomes)


def try_again(image: Image, event: Any, now: int) -> Decision:
    """The whole step from its first effect, under a new number."""
    assert image.work is not None
    entered = replace(enter(image, image.state), blocked_from=image.blocked_from, disagrees=image.disagrees)
    return Decision(reopened(entered, image.work))


def pause_over(image: Image, event: Any, now: int) -> Decision:
    """The transfer that failed waits for a slot again."""
    return Decision(replace(image, retry_at=None))


def block(image: Image, event: Any, now: int) -> Decision:
    """The image needs operator action; the open step stays as it is."""
    if guards.GRANT_REFUSED.holds(image, event, now):
        return contradict(image, Contradicted(event.message), now)
    return _block(image, event.family, event.message)


def contradict(image: Image, event: Any, now: int) -> Decision:
    """The volume or the host contradicts the record: nobody gets the image before an operator decides."""
    what = "what the host has" if event.by_host else "what the volume says"
    text = (
        f"{event.text}; `rocks clean host storagemap {image.nas} {image.zvol}` goes on with {what}, and "
        'with force=yes reason="…" gives up what no snapshot of the NAS has'
    )
    blocked = Decision(replace(image, reason=text, failure_family="incoherent"))
    if image.state != BLOCKED:
        blocked = _block(image, "incoherent", text)
    assert blocked.image is not None
    work = None if is_recovering(blocked.image) else blocked.image.work
    disagrees: Witness = "host" if event.by_host else "volume"
    return replace(blocked, image=replace(blocked.image, work=work, retry_at=None, disagrees=disagrees))


def block_other_guid(image: Image, event: Any, now: int) -> Decision:
    """The received snapshot is another than the one sent."""
    return _block(
        image, "incoherent", f"{image.owner} received snapshot {event.facts.guid}, not {image.base_guid}"
    )


def block_unexpected_changes(image: Image, event: Any, now: int) -> Decision:
    """A device was written to before its map was published."""
    return _block(image, "incoherent", f"the map to {image.owner} failed, but data was written there")


def _block(image: Image, family: str, reason: str) -> Decision:
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids, *image.move_ids)
    text = f"ZVol {image.zvol} is blocked and needs operator action: {reason}"
    blocked = replace(
        image,
        state=BLOCKED,
        blocked_from=image.state,
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


def begin_abandon(image: Image, event: Any, now: int) -> Decision:
    """A new epoch, so that the lost host is stale when it returns; its copy is never destroyed.

    Operations that waited for that host fail; a blocked image has none. The epoch exceeds that of the volume too, and
    the host that the volume names may have changes as well as the one in the record.
    """
    standing = event.standing or Grant()
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    aborted = replace(
        with_found(image, enter(image, BLOCKED)),
        epoch=max(image.epoch, standing.epoch) + 1,
        blocked_from=(image.blocked_from or RETURNING) if image.state == BLOCKED else image.state,
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


def retried(state: State, *steps: Step) -> Tuple[Row, ...]:
    """A step that fails is tried again in its state; the image is blocked when trying again cannot help."""
    rows = []
    for step in steps:
        rows.append(failed(state, step, BLOCKED, "needs operator action", block, guards.NO_MORE_TRIES))
        rows.append(failed(state, step, state, "again after a pause", try_later))
    return tuple(rows)
