"""Records that an earlier release stored are read under the present names."""

import json
from typing import Any

import pytest

from rocks.fleet.wire.codec import decode, encode
from rocks.storage.life import events
from rocks.storage.life.image import Image
from rocks.storage.life.states import BLOCKED, RETURNING, STATES, State
from rocks.storage.life.stored_names import current_record
from tests.unit.storage.records import HOST, MAP, after, finished, new_image, record

OLD_FIELDS = {
    "blocked_from": "held_from",
    "quarantines": "sets_aside",
    "needed_bytes": "room_bytes",
    "former": "aside",
}
OLD_STEPS = {
    "confirm": "home",
    "attach_overlay": "attach",
    "attach_linear": "attach",
    "attach_remote": "attach",
}


def as_stored_before(image: Image) -> Any:
    """The record as the earlier release stored it."""
    record = _old_fields(encode(image))
    record["state"] = "held" if image.state == BLOCKED else image.state
    if image.work is not None:
        record["work"]["step"] = OLD_STEPS.get(image.work.step, image.work.step)
    return json.loads(json.dumps(record))


def _old_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {OLD_FIELDS.get(name, name): _old_fields(item) for name, item in value.items()}
    return [_old_fields(item) for item in value] if isinstance(value, list) else value


IMAGES = {
    **{state: record(state) for state in STATES},
    "blocked while it attaches": after(
        finished(record("mapping")), events.Contradicted("the volume is newer")
    ),
    "attaching an overlay": finished(record("mapping")),
    "attaching the volume": finished(
        after(new_image(), events.Map("map-1", HOST, None, False, MAP.initiator, 0))
    ),
    "exchanging": finished(record("restoring")),
    "confirming": finished(finished(record(RETURNING))),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_earlier_record_is_read(name: State) -> None:
    """State, fields and open step are those that the present release stores, which are read as they are."""
    image = IMAGES[name]
    assert current_record(encode(image)) == encode(image) and decode(Image, encode(image), "image") == image
    assert decode(Image, current_record(as_stored_before(image)), "image") == image


def test_the_samples_have_the_renamed_steps() -> None:
    """Else the tests above prove nothing."""
    steps = {image.work.step for image in IMAGES.values() if image.work is not None}
    assert {"attach_overlay", "attach_remote", "confirm", "exchange"} <= steps
