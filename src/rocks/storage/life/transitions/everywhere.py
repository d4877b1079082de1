"""Transitions of events that count in every state; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life.effects import EnsureGrant
from rocks.storage.life.grants import is_recovering
from rocks.storage.life.image import Decision, Image
from rocks.storage.life.states import BLOCKED
from rocks.storage.life.transitions.record_changes import outcomes_of


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


def note_copy(image: Image, event: Any, now: int) -> Decision:
    """The owner's answers are newer than its report; changes of another host under an old epoch are suspect."""
    if event.host == image.owner:
        return Decision(image)
    known = image.copy_on(event.host)
    kind = event.kind
    is_overtaken = event.copy_epoch < image.epoch or image.owner is not None
    if kind == "dirty" and (is_overtaken or (known is not None and known.kind == "suspect")):
        kind = "suspect"
    return Decision(image.with_copy(event.host, event.pool, kind, event.guid))


def stay(image: Image, event: Any, now: int) -> Decision:
    """The record stays as it is."""
    return Decision(image)


def is_performing(image: Image) -> bool:
    """Whether the open step is to be performed: that of a blocked image is stored, but not performed."""
    if image.work is None or image.state != BLOCKED:
        return image.work is not None
    return image.work.step == "abandon" or is_recovering(image)
