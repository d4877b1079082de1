"""Names in records and requests that an earlier release stored, brought to the present names; pure."""

from __future__ import annotations

from typing import Any, Dict

from rocks.wire.codec import TAG

_FIELDS = {
    "held_from": "blocked_from",
    "sets_aside": "quarantines",
    "room_bytes": "needed_bytes",
    "aside": "former",
}
_STATES = {"held": "blocked"}
_STEPS = {"home": "confirm"}
_ATTACH_STEPS = {"MapOverlay": "attach_overlay", "MapLinear": "attach_linear", "MapRemote": "attach_remote"}


def current_record(record: Dict[str, Any]) -> Dict[str, Any]:
    """An image's record as plain JSON values under the present names; a present record stays equal."""
    current: Dict[str, Any] = current_fields(record)
    current["state"] = _STATES.get(current["state"], current["state"])
    if current["work"] is not None:
        current["work"] = {**current["work"], "step": _current_step(current["work"])}
    return current


def current_fields(value: Any) -> Any:
    """A JSON value whose fields, at every depth, have the present names."""
    if isinstance(value, list):
        return [current_fields(item) for item in value]
    if isinstance(value, dict):
        return {_FIELDS.get(name, name): current_fields(item) for name, item in value.items()}
    return value


def _current_step(work: Dict[str, Any]) -> str:
    step = str(work["step"])
    if step != "attach":
        return _STEPS.get(step, step)
    return _ATTACH_STEPS[work["effects"][-1]["request"][TAG]]
