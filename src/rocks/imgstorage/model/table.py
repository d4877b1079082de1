"""THE TABLE of an image's life: what follows from which event in which state, and what is refused in which words.

The entries of a pair (state, event) are asked in order, and the first whose guard holds counts; those of StepDone and
StepFailed also say of which step. A pair without an entry here, or none of whose guards holds, falls to `refusals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple, Type, Union

from rocks.imgstorage.model import changes, rules
from rocks.imgstorage.model.events import (
    Abandon,
    Cancel,
    Configure,
    CopyFound,
    Delete,
    Event,
    GraceOver,
    HostLost,
    Map,
    PullNow,
    Restarted,
    Restore,
    Retry,
    RetryDue,
    StartPull,
    StartSeed,
    StepDone,
    StepFailed,
    Undelete,
    Unmap,
)
from rocks.imgstorage.model.image import Decision, Image, Step
from rocks.imgstorage.model.rules import Guard
from rocks.imgstorage.model.states import (
    DELETING,
    GUEST_MAY_RUN,
    HELD,
    HOST_HAS_IT,
    LOCAL,
    MAPPED,
    MAPPING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    SEEDING,
    STATES,
    SWITCHING,
    UNMAPPED,
    State,
)

Change = Callable[[Image, Any, int], Decision]


@dataclass(frozen=True)
class Row:
    """In `state`, on `event` (of `step`) and if `guard` holds: `change` leads to `to`, and begins the step `starts`.

    `to` None: the record is forgotten.
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
class Refuse:
    """In `state`, `event` changes nothing if `guard` holds. `text` may name fields of the record and of the event."""

    state: State
    event: Type[Event]
    text: str
    guard: Optional[Guard] = None
    family: str = "state"


Entry = Union[Row, Refuse]


def _done(
    state: State,
    step: Step,
    to: Optional[State],
    sentence: str,
    change: Change,
    guard: Optional[Guard] = None,
    starts: Optional[Step] = None,
) -> Row:
    return Row(state, StepDone, to, sentence, change, guard, step, starts)


def _failed(
    state: State,
    step: Step,
    to: State,
    sentence: str,
    change: Change,
    guard: Optional[Guard] = None,
    starts: Optional[Step] = None,
) -> Row:
    return Row(state, StepFailed, to, sentence, change, guard, step, starts)


def _retried(state: State, *steps: Step) -> Tuple[Row, ...]:
    """A step that fails is tried again where it is, and held when that is of no use."""
    rows = []
    for step in steps:
        rows.append(_failed(state, step, HELD, "an operator must look", changes.hold, rules.GIVEN_UP))
        rows.append(_failed(state, step, state, "again after a pause", changes.try_later))
    return tuple(rows)


_MAP: Tuple[Entry, ...] = (
    Refuse(UNMAPPED, Map, "no initiator name", rules.NO_INITIATOR, "user"),
    Refuse(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is to be copied to {event.host}, but no pool there is named (remotepool=POOL)",
        rules.NO_POOL,
        "user",
    ),
    Refuse(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not persistent, and without a copy (img_sync no) all that is written is on the NAS at "
        "once: set img_sync yes for {event.host}, or rocks set host zvolattr {image.nas} {image.zvol} persistent yes",
        rules.FORGETFUL_ON_NAS,
        "user",
    ),
    Refuse(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped: the lease {event.lease_token} of its virtual machine is older than "
        "{image.lease_token}, which it had last",
        rules.OLD_LEASE,
    ),
    Refuse(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped to {event.host}: changes that the NAS does not have are on {dirty}; "
        "map it there with a copy (img_sync yes), or give them up with rocks clean host storagemap",
        rules.DIRTY_ELSEWHERE,
    ),
    Row(UNMAPPED, Map, MAPPING, "grant a new epoch", changes.begin_map, starts="prepare"),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "give the grant back",
        changes.would_lose_changes,
        rules.WOULD_LOSE_CHANGES,
        "leave",
    ),
    _done(MAPPING, "prepare", MAPPING, "give the grant back", changes.no_room, rules.NO_ROOM, "leave"),
    _done(
        MAPPING, "prepare", MAPPING, "export it writable", changes.attach_remote, rules.WITHOUT_COPY, "attach"
    ),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "no export, no transfer",
        changes.attach_linear,
        rules.COPY_AT_BASE,
        "attach",
    ),
    _done(MAPPING, "prepare", MAPPING, "export it read only", changes.attach_overlay, starts="attach"),
    _done(
        MAPPING,
        "attach",
        RETURNING,
        "take it back at once",
        changes.attached_then_unmap,
        rules.UNMAP_WAITS & rules.LINEAR_ATTACHED,
        "detach",
    ),
    _done(
        MAPPING,
        "attach",
        RETURNING,
        "take it back at once",
        changes.attached_then_unmap,
        rules.UNMAP_WAITS,
        "drop",
    ),
    _done(MAPPING, "attach", LOCAL, "the guest may run", changes.attached, rules.LINEAR_ATTACHED),
    _done(MAPPING, "attach", REMOTE, "the guest may run", changes.attached, rules.REMOTE_ATTACHED),
    _done(MAPPING, "attach", MAPPED, "the guest may run", changes.attached),
    _failed(MAPPING, "prepare", MAPPING, "give the grant back", changes.give_back, starts="leave"),
    _failed(MAPPING, "attach", MAPPING, "the host takes it back", changes.undo_map, starts="undo"),
    _done(
        MAPPING,
        "undo",
        HELD,
        "an operator must look",
        changes.hold_unexpected_changes,
        rules.HAS_CHANGES,
    ),
    _done(MAPPING, "undo", MAPPING, "give the grant back", changes.undone, starts="leave"),
    _done(MAPPING, "leave", UNMAPPED, "the map has failed", changes.map_failed),
    _failed(MAPPING, "undo", HELD, "an operator must look", changes.hold, rules.GIVEN_UP),
    _failed(MAPPING, "undo", MAPPING, "again after a pause", changes.tell_and_try_later),
    _failed(MAPPING, "leave", HELD, "an operator must look", changes.hold, rules.GIVEN_UP),
    _failed(MAPPING, "leave", MAPPING, "again after a pause", changes.tell_and_try_later),
    Refuse(MAPPING, Cancel, "ZVol {image.zvol}: the mapping is being undone already", rules.UNDOING),
    Row(MAPPING, Cancel, MAPPING, "the host takes it back", changes.cancel_map, starts="undo"),
)

_LOCALISE: Tuple[Entry, ...] = (
    Row(MAPPED, StartSeed, SEEDING, "copy it", changes.begin_seed, rules.NO_PAUSE, starts="seed"),
    _done(
        SEEDING,
        "seed",
        SWITCHING,
        "turn the guest to the copy",
        changes.begin_switch,
        rules.IS_BASE,
        "switch",
    ),
    _done(SEEDING, "seed", HELD, "what arrived is another snapshot", changes.hold_other_guid),
    _failed(SEEDING, "seed", HELD, "an operator must look", changes.hold, rules.GIVEN_UP),
    _failed(SEEDING, "seed", MAPPED, "go on after a pause", changes.seed_failed),
    _done(SWITCHING, "switch", SWITCHING, "drop the export, merge", changes.begin_merge, starts="merge"),
    _done(
        SWITCHING,
        "merge",
        RETURNING,
        "an unmap has waited for this",
        changes.take_back_copy,
        rules.UNMAP_WAITS,
        "detach",
    ),
    _done(SWITCHING, "merge", LOCAL, "the image is on its own", changes.became_local),
    *_retried(SWITCHING, "switch", "merge"),
)

_PULL: Tuple[Entry, ...] = (
    Refuse(LOCAL, StartPull, "ZVol {image.zvol} is not persistent: nothing is pulled", rules.NOT_PERSISTENT),
    Row(LOCAL, StartPull, PULLING, "bring changes home", changes.begin_pull, rules.NO_PAUSE, starts="pull"),
    _done(PULLING, "pull", PULLING, "look for it on the NAS", changes.accept_pull, starts="accept"),
    _done(PULLING, "accept", PULLING, "it is the new base", changes.pulled, starts="settle"),
    _done(
        PULLING,
        "settle",
        RETURNING,
        "an unmap has waited: it makes its own final snapshot",
        changes.take_back_copy,
        rules.UNMAP_WAITS,
        "detach",
    ),
    _done(PULLING, "settle", LOCAL, "both sides have it", changes.settled),
    _failed(
        PULLING,
        "settle",
        RETURNING,
        "the final return settles it",
        changes.take_back_copy,
        rules.UNMAP_WAITS,
        "detach",
    ),
    _failed(PULLING, "settle", LOCAL, "the next pull settles it", changes.settled),
    _failed(PULLING, "pull", HELD, "an operator must look", changes.hold, rules.GIVEN_UP),
    _failed(
        PULLING,
        "pull",
        RETURNING,
        "the final return takes it along",
        changes.take_back_copy,
        rules.UNMAP_WAITS,
        "detach",
    ),
    _failed(PULLING, "pull", LOCAL, "go on after a pause", changes.pull_failed),
    *_retried(PULLING, "accept"),
    *(
        entry
        for state in (LOCAL, PULLING)
        for entry in (
            Refuse(
                state, PullNow, "ZVol {image.zvol} is not persistent: nothing is pulled", rules.NOT_PERSISTENT
            ),
            Row(state, PullNow, state, "told when a pull has ended", changes.ask_pull),
        )
    ),
)

_RETURN: Tuple[Entry, ...] = (
    Row(MAPPED, Unmap, MAPPED, "waits for the copy", changes.wait_to_unmap, rules.UNMAP_WAITS),
    Row(SEEDING, Unmap, SEEDING, "waits for the copy", changes.wait_to_unmap, rules.UNMAP_WAITS),
    *(
        Row(state, Unmap, RETURNING, "try without the copy", changes.take_back_overlay, starts="drop")
        for state in (MAPPED, SEEDING)
    ),
    Row(REMOTE, Unmap, RETURNING, "log out", changes.take_back_overlay, starts="drop"),
    Row(LOCAL, Unmap, RETURNING, "take the device away", changes.take_back_copy, starts="detach"),
    *(
        Row(state, Unmap, state, "waits for what is under way", changes.wait_to_unmap)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING)
    ),
    *(
        Row(state, Cancel, state, "forget the unmap", changes.forget_unmap, rules.UNMAP_WAITS)
        for state in (MAPPED, SEEDING, SWITCHING, PULLING)
    ),
    _done(
        RETURNING,
        "drop",
        MAPPED,
        "the guest has written: copy first",
        changes.copy_first,
        rules.HAS_CHANGES,
    ),
    _done(RETURNING, "drop", RETURNING, "drop the export", changes.begin_leave, starts="leave"),
    _failed(
        RETURNING,
        "drop",
        REMOTE,
        "a guest uses it: no unmap",
        changes.give_up_unmap,
        rules.IN_USE & rules.WITHOUT_COPY,
    ),
    _failed(RETURNING, "drop", MAPPED, "a guest uses it: no unmap", changes.give_up_unmap, rules.IN_USE),
    _failed(RETURNING, "detach", LOCAL, "a guest uses it: no unmap", changes.give_up_unmap, rules.IN_USE),
    _done(
        RETURNING,
        "detach",
        RETURNING,
        "back to the base",
        changes.begin_discard,
        rules.NOT_PERSISTENT,
        "discard",
    ),
    _done(RETURNING, "detach", RETURNING, "final snapshot, send", changes.begin_return, starts="return"),
    _done(RETURNING, "return", RETURNING, "look for it on the NAS", changes.begin_home, starts="home"),
    _done(RETURNING, "home", UNMAPPED, "the image is home", changes.is_home),
    _done(RETURNING, "discard", RETURNING, "end the grant", changes.begin_leave, starts="leave"),
    _done(RETURNING, "leave", UNMAPPED, "nobody has it", changes.has_left),
    *_retried(RETURNING, "drop", "detach", "return", "discard", "home", "leave"),
)

_GIVE_UP = (
    "ZVol {image.zvol}: giving it up loses {lost}, and whoever has it may still be writing: see that it is off, then "
    'say force=yes reason="…"'
)

_HOLD: Tuple[Entry, ...] = (
    *(
        Row(
            state,
            HostLost,
            state,
            "nothing is wanted from it any more",
            changes.stay,
            rules.IS_MAPPED_BY & rules.IS_HOME,
        )
        for state in (MAPPING, RETURNING)
    ),
    *(
        Row(
            state, HostLost, HELD, "the NAS's last snapshot is certain", changes.hold_lost, rules.IS_MAPPED_BY
        )
        for state in HOST_HAS_IT
    ),
    *(
        Refuse(HELD, event, "ZVol {image.zvol} is being given up already", rules.GIVING_UP, "busy")
        for event in (Retry, Abandon)
    ),
    *(
        Row(HELD, Retry, state, "go on where it was", changes.go_on, rules.was_in(state))
        for state in (*HOST_HAS_IT, DELETING, RESTORING)
    ),
    Refuse(
        HELD,
        Abandon,
        "ZVol {image.zvol} cannot be given up while a restored snapshot is being put in its place: mend what is said "
        "of it, then rocks clean host storagemap goes on",
        rules.EXCHANGING,
    ),
    *(Refuse(state, Abandon, _GIVE_UP, rules.NOT_FENCED) for state in (HELD, *HOST_HAS_IT)),
    *(
        Row(state, Abandon, HELD, "a new epoch; the copy is suspect", changes.begin_abandon, starts="abandon")
        for state in HOST_HAS_IT
    ),
    Refuse(UNMAPPED, Abandon, _GIVE_UP, rules.HAS_DIRTY & rules.NOT_FENCED),
    Row(UNMAPPED, Abandon, UNMAPPED, "such copies are suspect", changes.give_up_copies, rules.HAS_DIRTY),
    Row(HELD, Abandon, HELD, "a new epoch; the copy is suspect", changes.begin_abandon, starts="abandon"),
    _done(HELD, "abandon", UNMAPPED, "the NAS's newest snapshot is the image", changes.abandoned),
    _failed(HELD, "abandon", HELD, "again after a pause", changes.try_later),
)

_DELETE_AND_RESTORE: Tuple[Entry, ...] = (
    Refuse(
        UNMAPPED,
        Delete,
        "Error deleting zvol {image.zvol}: changes that the NAS does not have are on {unreturned}; say force=yes "
        "to lose them",
        rules.HAS_UNRETURNED,
    ),
    Row(UNMAPPED, Delete, DELETING, "see whether it may be", changes.begin_delete, starts="check"),
    _done(
        DELETING,
        "check",
        UNMAPPED,
        "another volume has its name",
        changes.cannot_delete_other,
        rules.OTHER_VOLUME,
    ),
    _done(DELETING, "check", UNMAPPED, "others need it", changes.cannot_delete, rules.HAS_OBSTACLES),
    _done(DELETING, "check", None, "there was no volume", changes.forget, rules.NO_VOLUME),
    _done(DELETING, "check", DELETING, "mark it", changes.begin_mark, starts="mark"),
    _failed(DELETING, "check", UNMAPPED, "nothing was changed", changes.operation_failed),
    _done(DELETING, "mark", DELETING, "wait for the end of the grace period", changes.marked),
    Row(DELETING, Undelete, DELETING, "it stays", changes.begin_unmark, rules.NOTHING_OPEN, starts="unmark"),
    _done(DELETING, "unmark", UNMAPPED, "it stays", changes.operation_done),
    Row(DELETING, GraceOver, DELETING, "destroy it", changes.begin_destroy, rules.DUE, starts="destroy"),
    _done(DELETING, "destroy", None, "there is no such image any more", changes.forget),
    *_retried(DELETING, "mark", "unmark", "destroy"),
    Row(UNMAPPED, Restore, RESTORING, "safety snapshot first", changes.begin_restore, starts="restore"),
    _done(
        RESTORING,
        "restore",
        RESTORING,
        "put it in the volume's place",
        changes.begin_exchange,
        starts="exchange",
    ),
    _failed(
        RESTORING, "restore", UNMAPPED, "nothing was changed", changes.operation_failed, rules.WRONG_REQUEST
    ),
    _done(RESTORING, "exchange", UNMAPPED, "the snapshot is the image", changes.restored),
    *_retried(RESTORING, "restore", "exchange"),
)

_EVERYWHERE: Tuple[Entry, ...] = (
    *(
        Row(state, Map, state, "already so: the device again", changes.already_mapped, rules.SAME_HOST)
        for state in GUEST_MAY_RUN
    ),
    *(
        Row(state, RetryDue, state, "the step again, under a new number", changes.try_again, rules.PAUSE_OVER)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING, DELETING, RESTORING, HELD)
    ),
    *(Row(state, Restarted, state, STATES[state].restart, changes.resume_work) for state in STATES),
    Refuse(
        REMOTE,
        Configure,
        "ZVol {image.zvol} is mapped without a copy (img_sync no): what is written is on the NAS at once, and cannot "
        "be thrown away; unmap it first",
        rules.MUST_FORGET,
    ),
    *(Row(state, Configure, state, "counts at the next unmap", changes.configure) for state in STATES),
    *(Row(state, CopyFound, state, "noted", changes.note_copy) for state in STATES),
)

TABLE: Tuple[Union[Row, Refuse], ...] = (
    *_MAP,
    *_LOCALISE,
    *_PULL,
    *_RETURN,
    *_HOLD,
    *_DELETE_AND_RESTORE,
    *_EVERYWHERE,
)
"""Every entry that is not one of the general refusals."""
