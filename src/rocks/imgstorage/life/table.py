"""THE TABLE of an image's life: the transition of every event in every state, and the rejections with their texts.

The entries of a pair (state, event) are tried in order, and the first whose guard holds counts; those of StepDone and
StepFailed also name the step. A pair without an entry, or whose guards all fail, is rejected by `rejections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple, Type, Union

from rocks.imgstorage.life import guards, recovery, transitions
from rocks.imgstorage.life.events import (
    Abandon,
    Cancel,
    Configure,
    Contradicted,
    CopyFound,
    Delete,
    Event,
    GraceOver,
    HostLost,
    Map,
    Move,
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
from rocks.imgstorage.life.facts import Stage
from rocks.imgstorage.life.guards import Guard
from rocks.imgstorage.life.image import Decision, Image, Step
from rocks.imgstorage.life.states import (
    BLOCKED,
    DELETING,
    GUEST_MAY_RUN,
    HOST_HAS_IT,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
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
    """In `state`, on `event` (of `step`) and if `guard` holds: `change` leads to `to`, and the engine then
    begins the step `starts`.

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
    """A step that fails is tried again in its state; the image is blocked when trying again cannot help."""
    rows = []
    for step in steps:
        rows.append(
            _failed(state, step, BLOCKED, "needs operator action", transitions.block, guards.GIVEN_UP)
        )
        rows.append(_failed(state, step, state, "again after a pause", transitions.try_later))
    return tuple(rows)


def _attached(step: Step, state: State, back: Step) -> Tuple[Row, ...]:
    """The ends of a step that gives the host a device; `back` takes the device away."""
    return (
        _done(
            MAPPING,
            step,
            RETURNING,
            "unmap at once",
            transitions.attached_then_unmap,
            guards.UNMAP_WAITS,
            back,
        ),
        _done(MAPPING, step, state, "the guest may run", transitions.attached),
        _failed(MAPPING, step, MAPPING, "undo it on the host", transitions.undo_map, starts="undo"),
    )


_ATTACHING: Tuple[Tuple[Step, State, Step], ...] = (
    ("attach_overlay", MAPPED, "drop"),
    ("attach_linear", LOCAL, "detach"),
    ("attach_remote", REMOTE, "drop"),
)

_WITH_A_COPY: Tuple[Stage, ...] = ("merging", "linear")
_RECOVERY_STEPS: Tuple[Step, ...] = ("look", "attach_overlay", "attach_remote")

_MAP: Tuple[Entry, ...] = (
    RejectionRow(UNMAPPED, Map, "no initiator name", guards.NO_INITIATOR, "user"),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} cannot be copied to {event.host} without a pool: add remotepool=POOL",
        guards.NO_POOL,
        "user",
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not persistent, and without a copy (img_sync no) writes go to the NAS at once; "
        "set img_sync yes for {event.host}, or run rocks set host zvolattr {image.nas} {image.zvol} persistent yes",
        guards.NOT_PERSISTENT_ON_NAS,
        "user",
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped: the lease {event.lease_token} of its virtual machine is older than its last "
        "lease {image.lease_token}",
        guards.OLD_LEASE,
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped to {event.host}: changes that the NAS does not have are on {dirty}; "
        "map it there with a copy (img_sync yes), or give them up with rocks clean host storagemap",
        guards.DIRTY_ELSEWHERE,
    ),
    Row(UNMAPPED, Map, MAPPING, "grant a new epoch", transitions.begin_map, starts="prepare"),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "revoke the grant",
        transitions.would_lose_changes,
        guards.WOULD_LOSE_CHANGES,
        "leave",
    ),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "revoke the grant",
        transitions.no_free_space,
        guards.NO_FREE_SPACE,
        "leave",
    ),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "export it writable",
        transitions.attach_remote,
        guards.WITHOUT_COPY,
        "attach_remote",
    ),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "no export, no transfer",
        transitions.attach_linear,
        guards.COPY_AT_BASE,
        "attach_linear",
    ),
    _done(
        MAPPING,
        "prepare",
        MAPPING,
        "export it read only",
        transitions.attach_overlay,
        starts="attach_overlay",
    ),
    *(row for ending in _ATTACHING for row in _attached(*ending)),
    _failed(
        MAPPING,
        "prepare",
        BLOCKED,
        "another grant is on the volume",
        transitions.block,
        guards.LEASE_REFUSED,
    ),
    _failed(MAPPING, "prepare", MAPPING, "revoke the grant", transitions.give_back, starts="leave"),
    _done(
        MAPPING,
        "undo",
        BLOCKED,
        "needs operator action",
        transitions.block_unexpected_changes,
        guards.HAS_CHANGES,
    ),
    _done(MAPPING, "undo", MAPPING, "revoke the grant", transitions.undone, starts="leave"),
    _done(MAPPING, "leave", UNMAPPED, "the map has failed", transitions.map_failed),
    _failed(MAPPING, "undo", BLOCKED, "needs operator action", transitions.block, guards.GIVEN_UP),
    _failed(MAPPING, "undo", MAPPING, "again after a pause", transitions.publish_and_try_later),
    _failed(MAPPING, "leave", BLOCKED, "needs operator action", transitions.block, guards.GIVEN_UP),
    _failed(MAPPING, "leave", MAPPING, "again after a pause", transitions.publish_and_try_later),
    RejectionRow(MAPPING, Cancel, "ZVol {image.zvol}: the mapping is already being undone", guards.UNDOING),
    Row(MAPPING, Cancel, MAPPING, "undo it on the host", transitions.cancel_map, starts="undo"),
)

_LOCALISE: Tuple[Entry, ...] = (
    Row(MAPPED, StartSeed, SEEDING, "copy it", transitions.begin_seed, guards.NO_PAUSE, starts="seed"),
    _done(
        SEEDING,
        "seed",
        SWITCHING,
        "switch the guest to the copy",
        transitions.begin_switch,
        guards.IS_BASE,
        "switch",
    ),
    _done(SEEDING, "seed", BLOCKED, "the received snapshot is another one", transitions.block_other_guid),
    _failed(SEEDING, "seed", BLOCKED, "needs operator action", transitions.block, guards.GIVEN_UP),
    _failed(SEEDING, "seed", MAPPED, "go on after a pause", transitions.seed_failed),
    _done(SWITCHING, "switch", SWITCHING, "drop the export, merge", transitions.begin_merge, starts="merge"),
    _done(
        SWITCHING,
        "merge",
        RETURNING,
        "an unmap waits for this",
        transitions.take_back_copy,
        guards.UNMAP_WAITS,
        "detach",
    ),
    _done(SWITCHING, "merge", LOCAL, "the image is independent of the NAS", transitions.became_local),
    *_retried(SWITCHING, "switch", "merge"),
)

_PULL: Tuple[Entry, ...] = (
    RejectionRow(
        LOCAL,
        StartPull,
        "ZVol {image.zvol} is not persistent: its changes are not pulled",
        guards.NOT_PERSISTENT,
    ),
    Row(
        LOCAL,
        StartPull,
        PULLING,
        "write changes back",
        transitions.begin_pull,
        guards.NO_PAUSE,
        starts="pull",
    ),
    _done(PULLING, "pull", PULLING, "verify it on the NAS", transitions.accept_pull, starts="accept"),
    _done(PULLING, "accept", PULLING, "it is the new base", transitions.pulled, starts="settle"),
    _done(
        PULLING,
        "settle",
        RETURNING,
        "an unmap waits: it makes its own final snapshot",
        transitions.take_back_copy,
        guards.UNMAP_WAITS,
        "detach",
    ),
    _done(PULLING, "settle", LOCAL, "both sides have the snapshot", transitions.settled),
    _failed(
        PULLING,
        "settle",
        RETURNING,
        "the final return settles it",
        transitions.take_back_copy,
        guards.UNMAP_WAITS,
        "detach",
    ),
    _failed(PULLING, "settle", LOCAL, "the next pull settles it", transitions.settled),
    _failed(PULLING, "pull", BLOCKED, "needs operator action", transitions.block, guards.GIVEN_UP),
    _failed(
        PULLING,
        "pull",
        RETURNING,
        "the final return includes it",
        transitions.take_back_copy,
        guards.UNMAP_WAITS,
        "detach",
    ),
    _failed(PULLING, "pull", LOCAL, "go on after a pause", transitions.pull_failed),
    *_retried(PULLING, "accept"),
    *(
        entry
        for state in (LOCAL, PULLING)
        for entry in (
            RejectionRow(
                state,
                PullNow,
                "ZVol {image.zvol} is not persistent: its changes are not pulled",
                guards.NOT_PERSISTENT,
            ),
            Row(state, PullNow, state, "answered when a pull has ended", transitions.ask_pull),
        )
    ),
)

_RETURN: Tuple[Entry, ...] = (
    Row(MAPPED, Unmap, MAPPED, "waits for the copy", transitions.wait_to_unmap, guards.UNMAP_WAITS),
    Row(SEEDING, Unmap, SEEDING, "waits for the copy", transitions.wait_to_unmap, guards.UNMAP_WAITS),
    *(
        Row(state, Unmap, RETURNING, "try without the copy", transitions.take_back_overlay, starts="drop")
        for state in (MAPPED, SEEDING)
    ),
    Row(REMOTE, Unmap, RETURNING, "log out", transitions.take_back_overlay, starts="drop"),
    Row(LOCAL, Unmap, RETURNING, "remove the device", transitions.take_back_copy, starts="detach"),
    *(
        Row(state, Unmap, state, "waits for the present step", transitions.wait_to_unmap)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING)
    ),
    *(
        Row(state, Cancel, state, "cancel the unmap", transitions.forget_unmap, guards.UNMAP_WAITS)
        for state in (MAPPED, SEEDING, SWITCHING, PULLING)
    ),
    _done(
        RETURNING,
        "drop",
        MAPPED,
        "the guest has written: copy first",
        transitions.copy_first,
        guards.HAS_CHANGES,
    ),
    _done(RETURNING, "drop", RETURNING, "drop the export", transitions.begin_leave, starts="leave"),
    _failed(
        RETURNING,
        "drop",
        REMOTE,
        "a guest uses it: no unmap",
        transitions.give_up_unmap,
        guards.IN_USE & guards.WITHOUT_COPY,
    ),
    _failed(RETURNING, "drop", MAPPED, "a guest uses it: no unmap", transitions.give_up_unmap, guards.IN_USE),
    _failed(
        RETURNING, "detach", LOCAL, "a guest uses it: no unmap", transitions.give_up_unmap, guards.IN_USE
    ),
    _done(
        RETURNING,
        "detach",
        RETURNING,
        "back to the base",
        transitions.begin_discard,
        guards.NOT_PERSISTENT,
        "discard",
    ),
    _done(RETURNING, "detach", RETURNING, "final snapshot, send", transitions.begin_return, starts="return"),
    _done(
        RETURNING, "return", RETURNING, "verify it on the NAS", transitions.begin_confirm, starts="confirm"
    ),
    _done(RETURNING, "confirm", UNMAPPED, "the image is written back", transitions.written_back),
    _done(RETURNING, "discard", RETURNING, "end the grant", transitions.begin_leave, starts="leave"),
    _done(RETURNING, "leave", UNMAPPED, "no host has it", transitions.has_left),
    *_retried(RETURNING, "drop", "detach", "return", "discard", "confirm", "leave"),
)

_NOT_ABANDONED = (
    "ZVol {image.zvol}: giving it up loses {lost}. Its host may still be writing; power it off, then repeat with "
    'force=yes reason="…"'
)

_MOVE_NOT_ABANDONED = (
    "ZVol {image.zvol}: {image.peer} may have taken it over and given it to a host. Power {image.peer} off for good, "
    'then repeat with force=yes reason="…": the image is that of {image.nas} again'
)

_UNMAPPED_BY: Tuple[Tuple[State, Step], ...] = ((LOCAL, "detach"), (REMOTE, "drop"))
"""States without an open step: an unmap that was remembered begins it; in the others it waits for the open one."""

_RECOVER: Tuple[Entry, ...] = (
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host again",
        recovery.look_again,
        guards.RECOVERING,
        starts="look",
    ),
    Row(
        BLOCKED,
        Retry,
        DELETING,
        "the volume says that it was removed, or moved to another NAS",
        recovery.take_removed,
        guards.DISAGREES & guards.STANDS_FREE & guards.STANDS_REMOVED,
        starts="mark",
    ),
    Row(
        BLOCKED,
        Retry,
        RETURNING,
        "the volume says that no host has it",
        recovery.take_unmapped,
        guards.DISAGREES & guards.STANDS_FREE,
        starts="leave",
    ),
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host that the volume names",
        recovery.begin_look,
        guards.DISAGREES,
        starts="look",
    ),
    *(
        _done(
            BLOCKED,
            "look",
            SWITCHING,
            "drop the export, merge what is left",
            recovery.found_merging,
            guards.found_stage(stage),
            "merge",
        )
        for stage in _WITH_A_COPY
    ),
    _done(
        BLOCKED,
        "look",
        BLOCKED,
        "restore the export",
        recovery.found_disk,
        guards.found_stage("overlay") & guards.HAS_BASE,
        "attach_overlay",
    ),
    _done(
        BLOCKED,
        "look",
        BLOCKED,
        "restore the export",
        recovery.found_disk,
        guards.found_stage("remote") & guards.HAS_INITIATOR,
        "attach_remote",
    ),
    _done(
        BLOCKED,
        "look",
        RETURNING,
        "end the grant",
        recovery.found_nothing,
        guards.FOUND_NOTHING,
        "leave",
    ),
    _done(
        BLOCKED,
        "look",
        RETURNING,
        "final snapshot, send",
        recovery.found_changes,
        guards.FOUND_COPY,
        "return",
    ),
    _done(BLOCKED, "look", BLOCKED, "needs operator action", recovery.found_contradiction),
    *(
        _done(
            BLOCKED,
            step,
            RETURNING,
            "an unmap was remembered",
            transitions.attached_then_unmap,
            guards.UNMAP_WAITS,
            "drop",
        )
        for step in _RECOVERY_STEPS[1:]
    ),
    _done(BLOCKED, "attach_overlay", MAPPED, "the guest goes on", transitions.attached),
    _done(BLOCKED, "attach_remote", REMOTE, "the guest goes on", transitions.attached),
    *(
        _failed(BLOCKED, step, BLOCKED, "again after a pause", transitions.try_later)
        for step in _RECOVERY_STEPS
    ),
)

_BLOCK: Tuple[Entry, ...] = (
    *(
        Row(
            state,
            HostLost,
            state,
            "the host is no longer needed",
            transitions.stay,
            guards.IS_MAPPED_BY & guards.WRITTEN_BACK,
        )
        for state in (MAPPING, RETURNING)
    ),
    *(
        Row(
            state,
            HostLost,
            BLOCKED,
            "only the NAS's last snapshot is certain",
            transitions.block_lost,
            guards.IS_MAPPED_BY,
        )
        for state in HOST_HAS_IT
    ),
    *(
        RejectionRow(BLOCKED, event, "ZVol {image.zvol} is already being given up", guards.GIVING_UP, "busy")
        for event in (Retry, Abandon)
    ),
    Row(
        BLOCKED,
        Unmap,
        BLOCKED,
        "remembered: done when it goes on",
        transitions.remember_unmap,
        guards.GRANTED,
    ),
    Row(BLOCKED, Cancel, BLOCKED, "cancel the unmap", transitions.forget_unmap, guards.UNMAP_WAITS),
    *_RECOVER,
    *(
        Row(
            BLOCKED,
            Retry,
            RETURNING,
            "an unmap was remembered",
            transitions.go_on_to_unmap,
            guards.was_in(state) & guards.UNMAP_WAITS,
            starts=step,
        )
        for state, step in _UNMAPPED_BY
    ),
    Row(
        BLOCKED,
        Retry,
        MOVING,
        "send again",
        transitions.resume_move,
        guards.was_in(MOVING) & guards.NOTHING_OPEN,
        starts="send",
    ),
    *(
        Row(BLOCKED, Retry, state, "go on where it was", transitions.go_on, guards.was_in(state))
        for state in (UNMAPPED, *HOST_HAS_IT, DELETING, RESTORING, MOVING)
    ),
    RejectionRow(
        BLOCKED,
        Abandon,
        "ZVol {image.zvol} cannot be given up while a restored snapshot takes its place; fix the reported cause, then "
        "run rocks clean host storagemap to go on",
        guards.EXCHANGING,
    ),
    RejectionRow(BLOCKED, Abandon, _MOVE_NOT_ABANDONED, guards.was_in(MOVING) & guards.NOT_FENCED),
    RejectionRow(MOVING, Abandon, _MOVE_NOT_ABANDONED, guards.NOT_FENCED),
    Row(MOVING, Abandon, BLOCKED, "a new epoch; it stays here", transitions.abandon_move, starts="abandon"),
    *(RejectionRow(state, Abandon, _NOT_ABANDONED, guards.NOT_FENCED) for state in (BLOCKED, *HOST_HAS_IT)),
    *(
        Row(
            state,
            Abandon,
            BLOCKED,
            "a new epoch; the copy is suspect",
            transitions.begin_abandon,
            starts="abandon",
        )
        for state in HOST_HAS_IT
    ),
    RejectionRow(UNMAPPED, Abandon, _NOT_ABANDONED, guards.HAS_DIRTY & guards.NOT_FENCED),
    Row(UNMAPPED, Abandon, UNMAPPED, "such copies are suspect", transitions.give_up_copies, guards.HAS_DIRTY),
    Row(
        BLOCKED,
        Abandon,
        BLOCKED,
        "a new epoch; the copy is suspect",
        transitions.begin_abandon,
        starts="abandon",
    ),
    _done(BLOCKED, "abandon", UNMAPPED, "the NAS's newest snapshot is the image", transitions.abandoned),
    _failed(
        BLOCKED,
        "abandon",
        BLOCKED,
        "the volume has a newer grant",
        transitions.not_abandoned,
        guards.LEASE_REFUSED,
    ),
    _failed(BLOCKED, "abandon", BLOCKED, "again after a pause", transitions.try_later),
    *(
        Row(
            state,
            Contradicted,
            BLOCKED,
            "the record and the volume have different grants",
            transitions.contradict,
        )
        for state in STATES
    ),
)

_DELETE_AND_RESTORE: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Delete,
        "Error deleting zvol {image.zvol}: changes that the NAS does not have are on {unreturned}; repeat with "
        "force=yes to lose them",
        guards.HAS_UNRETURNED,
    ),
    Row(
        UNMAPPED,
        Delete,
        DELETING,
        "check whether it may be destroyed",
        transitions.begin_delete,
        starts="check",
    ),
    _done(
        DELETING,
        "check",
        UNMAPPED,
        "another volume has its name",
        transitions.cannot_delete_other,
        guards.OTHER_VOLUME,
    ),
    _done(DELETING, "check", UNMAPPED, "others need it", transitions.cannot_delete, guards.HAS_OBSTACLES),
    _done(DELETING, "check", None, "there was no volume", transitions.forget, guards.NO_VOLUME),
    _done(DELETING, "check", DELETING, "mark it on the volume", transitions.begin_mark, starts="mark"),
    _failed(DELETING, "check", UNMAPPED, "nothing was changed", transitions.operation_failed),
    _done(DELETING, "mark", DELETING, "wait for the end of the grace period", transitions.marked),
    Row(
        DELETING,
        Undelete,
        DELETING,
        "keep the volume",
        transitions.begin_unmark,
        guards.NOTHING_OPEN,
        starts="unmark",
    ),
    _done(DELETING, "unmark", UNMAPPED, "keep the volume", transitions.operation_done),
    Row(
        DELETING,
        Delete,
        DELETING,
        "destroy it at once",
        transitions.begin_delete,
        guards.NOTHING_OPEN & guards.AT_ONCE,
        starts="check",
    ),
    RejectionRow(
        DELETING,
        Map,
        "ZVol {image.zvol} was moved to {image.peer}: repeat rocks move host storageimg {image.nas} {image.zvol} "
        "to={image.peer}, which records that in the database",
        guards.IS_MOVED,
    ),
    RejectionRow(
        DELETING,
        Map,
        "ZVol {image.zvol} was removed and is in its grace period: restore it by rocks restore host storageimg "
        "{image.nas} {image.zvol}, or destroy it by rocks remove host storageimg {image.nas} {image.pool} "
        "{image.zvol} now=yes",
        guards.NOTHING_OPEN,
    ),
    Row(DELETING, GraceOver, DELETING, "destroy it", transitions.begin_destroy, guards.DUE, starts="destroy"),
    _done(DELETING, "destroy", None, "the image no longer exists", transitions.forget),
    *_retried(DELETING, "mark", "unmark", "destroy"),
    Row(UNMAPPED, Restore, RESTORING, "safety snapshot first", transitions.begin_restore, starts="restore"),
    _done(
        RESTORING,
        "restore",
        RESTORING,
        "replace the volume by it",
        transitions.begin_exchange,
        starts="exchange",
    ),
    _failed(
        RESTORING,
        "restore",
        UNMAPPED,
        "nothing was changed",
        transitions.operation_failed,
        guards.WRONG_REQUEST,
    ),
    _done(RESTORING, "exchange", UNMAPPED, "the snapshot is the image", transitions.restored),
    *_retried(RESTORING, "restore", "exchange"),
)

_MOVE: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Move,
        "ZVol {image.zvol} cannot be moved: changes that the NAS does not have are on {dirty}; map it there and unmap "
        "it, or give them up by rocks clean host storagemap {image.nas} {image.zvol} force=yes",
        guards.HAS_DIRTY,
    ),
    Row(UNMAPPED, Move, MOVING, "check whether others need it", transitions.begin_move, starts="check"),
    RejectionRow(
        MOVING,
        Move,
        "ZVol {image.zvol} is being moved to {image.peer} already; rocks cancel host storagemap {image.nas} "
        "{image.zvol} cancels that",
        guards.TO_ANOTHER,
    ),
    Row(MOVING, Move, MOVING, "wait for the same move", transitions.join_move),
    Row(DELETING, Move, DELETING, "it was moved there", transitions.already_moved, guards.IS_MOVED_THERE),
    _done(MOVING, "check", UNMAPPED, "no content", transitions.cannot_move_nothing, guards.NO_VOLUME),
    _done(
        MOVING,
        "check",
        UNMAPPED,
        "another volume has its name",
        transitions.cannot_move_other,
        guards.OTHER_VOLUME,
    ),
    _done(MOVING, "check", UNMAPPED, "others need it", transitions.cannot_move, guards.HAS_OBSTACLES),
    _done(MOVING, "check", MOVING, "send all snapshots", transitions.begin_send, starts="send"),
    _failed(MOVING, "check", UNMAPPED, "nothing was changed", transitions.move_failed),
    _done(
        MOVING,
        "send",
        MOVING,
        "the content is the same there",
        transitions.begin_hand_over,
        starts="hand_over",
    ),
    _failed(MOVING, "send", UNMAPPED, "it stays here", transitions.move_failed, guards.WRONG_REQUEST),
    _failed(MOVING, "send", UNMAPPED, "it stays here", transitions.move_failed, guards.GIVEN_UP),
    _failed(MOVING, "send", MOVING, "again after a pause", transitions.try_later),
    _done(
        MOVING,
        "hand_over",
        DELETING,
        "the other NAS has it: mark the volume here",
        transitions.moved,
        starts="mark",
    ),
    *_retried(MOVING, "hand_over"),
    RejectionRow(
        MOVING,
        Cancel,
        "ZVol {image.zvol} is being handed over to {image.peer}, which may have it already: it is not cancelled, "
        "and is completed as soon as {image.peer} answers",
        guards.HANDING_OVER,
        "busy",
    ),
    Row(MOVING, Cancel, UNMAPPED, "it stays here", transitions.cancel_move),
)

_EVERYWHERE: Tuple[Entry, ...] = (
    *(
        Row(
            state,
            Map,
            state,
            "already mapped: answer with the device",
            transitions.already_mapped,
            guards.SAME_HOST,
        )
        for state in GUEST_MAY_RUN
    ),
    *(
        Row(
            state,
            RetryDue,
            state,
            "repeat the step under a new number",
            transitions.try_again,
            guards.PAUSE_OVER,
        )
        for state in (MAPPING, SWITCHING, PULLING, RETURNING, DELETING, RESTORING, MOVING, BLOCKED)
    ),
    *(
        Row(
            state,
            RetryDue,
            state,
            "the next free slot counts",
            transitions.pause_over,
            guards.PAUSE_OVER,
        )
        for state in (MAPPED, LOCAL)
    ),
    *(Row(state, Restarted, state, STATES[state].restart, transitions.stay) for state in STATES),
    RejectionRow(
        REMOTE,
        Configure,
        "ZVol {image.zvol} is mapped without a copy (img_sync no): writes go to the NAS at once and cannot be "
        "discarded; unmap it first",
        guards.NOT_TO_PERSIST,
    ),
    *(Row(state, Configure, state, "effective at the next unmap", transitions.configure) for state in STATES),
    *(Row(state, CopyFound, state, "record it", transitions.note_copy) for state in STATES),
)

TABLE: Tuple[Union[Row, RejectionRow], ...] = (
    *_MAP,
    *_LOCALISE,
    *_PULL,
    *_RETURN,
    *_BLOCK,
    *_DELETE_AND_RESTORE,
    *_MOVE,
    *_EVERYWHERE,
)
"""Every entry that is not one of the general rejections."""
