"""What the transitions share: the new record of an image, and the outcomes of operations; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Optional, Tuple

from rocks.core.errors import FAMILIES
from rocks.storage.life import names
from rocks.storage.life.facts import NOTHING
from rocks.storage.life.image import Decision, Image, Outcome, Work
from rocks.storage.life.schedule import retry_delay
from rocks.storage.life.states import UNMAPPED, State

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
