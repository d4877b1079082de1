"""The rows and changes by which a record is made from the grant on its volume, and from what its host reports; pure.

The record was lost, or is older than the volume. While it is made, the image is blocked and has no `blocked_from`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

from rocks.storage.image import guards, mapping, names
from rocks.storage.image.effects import Grant
from rocks.storage.image.events import Retry
from rocks.storage.image.grants import SEQUENCE_GAP
from rocks.storage.image.guards import Guard
from rocks.storage.image.image import CopyFact, Decision, Image, Stage, Step
from rocks.storage.image.rows import (
    Change,
    Entry,
    Row,
    answer,
    done,
    enter,
    exported,
    fresh,
    measured,
    retried_row,
)
from rocks.storage.image.states import BLOCKED, DELETING, MAPPED, REMOTE, RETURNING, SWITCHING, State
from rocks.storage.image.write_back import begin_return


def take_unmapped(image: Image, event: Any, now: int) -> Decision:
    """The volume says that no host has the image: an export of the record's time is removed."""
    taken = _with_grant(image, event.standing)
    if event.standing.epoch >= image.epoch and image.owner is not None:
        # the newer grant has ended after the host's changes were written back or abandoned
        taken = taken.with_copy(image.owner, "", "none")
    return answer(taken, event, now)


def take_removed(image: Image, event: Any, now: int) -> Decision:
    """The volume says that the image was removed, or moved: the end of its grace period is not known.

    After a move the volume bears another id than the image, which is on the other NAS.
    """
    taken = replace(
        _with_grant(image, event.standing),
        reason="it was removed after the time of the NAS's records",
        image_id=event.standing.image_id or image.image_id,
        copies=(),
        due_at=None,
    )
    return answer(taken, event, now)


def begin_look(image: Image, event: Any, now: int) -> Decision:
    """Ask the host that the volume names what it has of the image; until it answers, nobody else gets the image."""
    standing: Grant = event.standing
    assert standing.owner is not None
    copies = image.copies
    if standing.epoch > image.epoch:
        # a grant is given when no other host has changes that the NAS lacks, and without a copy when none has
        copies = tuple(copy for copy in copies if copy.kind != "dirty")
    reason = f"waits for {standing.owner} to report what it has"
    taken = replace(_with_grant(image, standing), reason=reason, copies=copies)
    if standing.sync:  # otherwise its guest writes to the NAS
        taken = taken.with_copy(standing.owner, standing.remote_pool or "", "dirty", standing.base_guid)
    return answer(taken, event, now)


def look_again(image: Image, event: Any, now: int) -> Decision:
    """Ask once more, under a new number."""
    return answer(replace(fresh(image), reason=image.reason), event, now)


def found_merging(image: Image, event: Any, now: int) -> Image:
    """The copy is complete, and merged or being merged; the export may still be there."""
    device = f"/dev/mapper/{names.guest_device(image.zvol)}"
    return replace(found_export(image, event, now), device=device)


def found_disk(image: Image, event: Any, now: int) -> Image:
    """The guest uses the NAS's disk: the export is restored, and the host gets its present secrets."""
    return replace(found_export(image, event, now), reason="its export is restored")


def found_changes(image: Image, event: Any, now: int) -> Image:
    """The device is gone and the host's copy has changes: they are written back."""
    return begin_return(found_export(image, event, now), event, now)


def found_export(image: Image, event: Any, now: int) -> Image:
    """There may be an export of the grant."""
    return exported(measured(image, event, now))


def found_nothing(image: Image, event: Any, now: int) -> Image:
    """The host has nothing that the NAS lacks."""
    assert image.owner is not None
    return found_export(image, event, now).with_copy(image.owner, "", "none")


def found_contradiction(image: Image, event: Any, now: int) -> Image:
    """What the host has belongs to another epoch, or is a temp-write volume whose stage nobody has recorded."""
    copy = event.facts.copy
    text = (
        f"{image.owner} reports the stage {copy.stage} of epoch {copy.epoch}"
        f"{', with a temp-write volume' if copy.has_temp_write else ''}, and the volume says epoch {image.epoch}; "
        f"{_remedy(image, copy)}, then run `rocks clean host storagemap {image.nas} {image.zvol}`"
    )
    known = measured(image, event, now)
    return replace(known, reason=text, failure_family="incoherent", disagrees="host")


def _remedy(image: Image, copy: CopyFact) -> str:
    if copy.stage == "none" and copy.has_temp_write:
        # a host looks for volumes without a record when its daemon starts, and in the pools that are there
        return (
            "if its pool was imported after the daemon there had started, run `systemctl restart "
            f"rocks-imgstorage-host` on {image.owner}"
        )
    return f"compare with `rocks list host storagedev {image.owner}`"


def _with_grant(image: Image, standing: Grant) -> Image:
    return replace(
        image,
        epoch=max(image.epoch, standing.epoch),
        sequence=max(image.sequence, standing.sequence) + SEQUENCE_GAP,
        owner=standing.owner,
        remote_pool=standing.remote_pool,
        initiator=standing.initiator,
        sync=standing.sync,
        lease_token=standing.lease_token or image.lease_token,
        machine=standing.machine or image.machine,
        persistent=image.persistent if standing.persistent is None else standing.persistent,
        base_name=standing.base_name,
        base_guid=standing.base_guid,
        final_guid=None,
        pending_name=None,
        device=None,
        operation_id="",
        pull_ids=(),
        covered_ids=(),
    )


# --- rows ------------------------------------------------------------------------------------------------------------


_WITH_A_COPY: Tuple[Stage, ...] = ("merging", "linear")
RECOVERY_STEPS: Tuple[Step, ...] = ("look", "attach_overlay", "attach_remote")

_MERGING = guards.found_stage("merging") & guards.HAS_BASE
_OVERLAY = guards.found_stage("overlay") & guards.HAS_BASE
_REMOTE = guards.found_stage("remote") & guards.HAS_INITIATOR
_SAYS_FREE = guards.DISAGREES & guards.STANDS_FREE
_UNWANTED = guards.FOUND_COPY & guards.HAS_BASE & guards.TO_DISCARD


def _found_row(to: State, sentence: str, change: Change, guard: Guard, starts: Step) -> Row:
    """What follows from what the host has."""
    return done(BLOCKED, "look", to, sentence, change, guard, starts)


RECOVER: Tuple[Entry, ...] = (
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host again",
        look_again,
        guards.RECOVERING,
        starts="look",
        enter=enter,
    ),
    Row(
        BLOCKED,
        Retry,
        DELETING,
        "the volume says that it was removed, or moved to another NAS",
        take_removed,
        _SAYS_FREE & guards.STANDS_REMOVED,
        starts="mark",
    ),
    Row(
        BLOCKED,
        Retry,
        RETURNING,
        "the volume says that no host has it",
        take_unmapped,
        _SAYS_FREE,
        starts="leave",
    ),
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host that the volume names",
        begin_look,
        guards.DISAGREES,
        starts="look",
    ),
    _found_row(SWITCHING, "it may still read from the NAS", found_merging, _MERGING, "switch"),
    *(
        _found_row(SWITCHING, "drop the export, merge what is left", found_merging, guard, "merge")
        for guard in map(guards.found_stage, _WITH_A_COPY)
    ),
    _found_row(BLOCKED, "restore the export", found_disk, _OVERLAY, "attach_overlay"),
    _found_row(BLOCKED, "restore the export", found_disk, _REMOTE, "attach_remote"),
    _found_row(RETURNING, "end the grant", found_nothing, guards.FOUND_NOTHING, "leave"),
    _found_row(RETURNING, "back to the base", found_export, _UNWANTED, "discard"),
    _found_row(RETURNING, "final snapshot, send", found_changes, guards.FOUND_COPY, "return"),
    done(BLOCKED, "look", BLOCKED, "needs operator action", found_contradiction),
    *(
        done(
            BLOCKED, step, RETURNING, "an unmap was remembered", mapping.attached, guards.UNMAP_WAITS, "drop"
        )
        for step in RECOVERY_STEPS[1:]
    ),
    done(BLOCKED, "attach_overlay", MAPPED, "the guest goes on", mapping.attached),
    done(BLOCKED, "attach_remote", REMOTE, "the guest goes on", mapping.attached),
    *(retried_row(BLOCKED, step) for step in RECOVERY_STEPS),
)
