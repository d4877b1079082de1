"""The version of stored records, and names that an earlier release stored, brought to the present names; pure."""

from __future__ import annotations

from typing import Any, Dict

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import TAG

RECORD_VERSION = 2
"""Raised when a record of this release would be misread by a daemon that ignores what it does not know.

Records of version 1 had no number. A field with a default needs no new version.
"""

_NUMBER = "v"

_FIELDS = {
    "held_from": "blocked_from",
    "sets_aside": "quarantines",
    "room_bytes": "needed_bytes",
    "aside": "former",
}
_STATES = {"held": "blocked"}
_STEPS = {"home": "confirm"}
_ATTACH_STEPS = {"MapOverlay": "attach_overlay", "MapLinear": "attach_linear", "MapRemote": "attach_remote"}


def numbered(record: Dict[str, Any]) -> Dict[str, Any]:
    """A record as it is stored."""
    return {_NUMBER: RECORD_VERSION, **record}


def unnumbered(record: Any, place: str) -> Dict[str, Any]:
    """A stored record without its version. IncoherentError when a newer release has stored it."""
    if not isinstance(record, dict):
        raise IncoherentError(f"the record of {place} is no JSON object")
    version = record.get(_NUMBER, 1)
    if not isinstance(version, int) or version > RECORD_VERSION:
        raise IncoherentError(
            f"the record of {place} has version {version}, and this daemon reads up to {RECORD_VERSION}: "
            "a newer release has stored it; install that release again"
        )
    return {name: value for name, value in record.items() if name != _NUMBER}


def current_record(record: Dict[str, Any]) -> Dict[str, Any]:
    """An image's record as plain JSON values under the present names; a present record stays equal."""
    current: Dict[str, Any] = current_fields(record)
    if "state" in current:
        current["state"] = _STATES.get(current["state"], current["state"])
    if current.get("work") is not None:
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
