"""Transitions of the growth of an image's volume; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life.image import Decision, Image
from rocks.storage.life.states import GROWING
from rocks.storage.life.transitions.records import enter, fresh, outcomes_of, unmapped


def begin_growth(image: Image, event: Any, now: int) -> Decision:
    """No host gets the image before the volume has its size."""
    return Decision(replace(fresh(enter(image, GROWING)), operation_id=event.op_id))


def grown(image: Image, event: Any, now: int) -> Decision:
    """The size is that of the volume. Copies on hosts are smaller: the next map finds that by their size."""
    sized = replace(
        image,
        size_bytes=event.facts.size_bytes or image.size_bytes,
        volume_guid=image.volume_guid or event.facts.volume_guid,
    )
    return Decision(unmapped(sized), outcomes_of((image.operation_id,)))
