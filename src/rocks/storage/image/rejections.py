"""The text for each event that has no row in the table, for every state, and for another machine's image; pure.

The first words of some texts are an interface: existing programs match them.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple, Type

from rocks.core.errors import Code, StateError
from rocks.storage.image import events
from rocks.storage.image.events import Event
from rocks.storage.image.image import Copy, Image, Rejection
from rocks.storage.image.states import (
    BLOCKED,
    DELETING,
    GROWING,
    GUEST_MAY_RUN,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)

Pair = Tuple[State, Type[Event]]

_DOING: Dict[State, str] = {
    UNMAPPED: "no host has it",
    MAPPING: "it is being mapped to {image.owner}",
    MAPPED: "{image.owner} has it and waits to copy it",
    REMOTE: "{image.owner} has it",
    SEEDING: "it is being copied to {image.owner}",
    SWITCHING: "{image.owner} is switching to its copy",
    LOCAL: "{image.owner} has it",
    PULLING: "changes are being written back from {image.owner}",
    RETURNING: "it is being written back from {image.owner}",
    BLOCKED: "it is blocked and needs operator action: {image.reason}",
    DELETING: "it is marked for destruction",
    RESTORING: "an earlier snapshot is being restored",
    MOVING: "it is being moved to {image.peer}",
    GROWING: "it gets a larger size",
}

_BUSY = "ZVol {image.zvol} is busy: {doing}"
_MAPPED_ELSEWHERE = "Error when mapping zvol: already mapped: {image.owner} has ZVol {image.zvol}"
_BUSY_ELSEWHERE = f"{_MAPPED_ELSEWHERE}; {_BUSY}"
"""Programs for Rocks repeat a request at `is busy`. The image is the other host's afterwards, too."""

_NOT_MAPPED = "ZVol {image.zvol} is not mapped"
_IS_MAPPED = "Error deleting zvol {image.zvol}: is mapped: {doing}"
_NOT_UNMAPPED = "ZVol {image.zvol} cannot be restored: {doing}; unmap it first"
_CODES = {
    _BUSY: Code.IMAGE_BUSY,
    _MAPPED_ELSEWHERE: Code.IMAGE_MAPPED,
    _BUSY_ELSEWHERE: Code.IMAGE_MAPPED,
    _NOT_MAPPED: Code.IMAGE_NOT_MAPPED,
}
"""Template → the code by which a program decides."""

_UNMAP_TO_MOVE = (
    "ZVol {image.zvol} cannot be moved: {doing}; stop its machine, or unmap it by rocks remove host storagemap "
    "{image.nas} {image.zvol}"
)
_UNMAP_TO_GROW = (
    "ZVol {image.zvol} does not grow: {doing}; stop its machine, or unmap it by rocks remove host storagemap "
    "{image.nas} {image.zvol}, then repeat the command"
)
_NO_PULL = "ZVol {image.zvol} has no changes on a host to pull: {doing}"
_BLOCKED = "ZVol {image.zvol} is blocked and needs operator action: {image.reason}"

_BY_EVENT: Dict[Type[Event], Tuple[str, str]] = {
    events.Map: ("busy", _BUSY),
    events.Unmap: ("state", _NOT_MAPPED),
    events.PullNow: ("state", _NO_PULL),
    events.Delete: ("state", _IS_MAPPED),
    events.Undelete: (
        "state",
        "ZVol {image.zvol} is not marked for destruction: {doing}; snap=NAME restores an earlier snapshot",
    ),
    events.Restore: ("state", _NOT_UNMAPPED),
    events.Move: ("state", "ZVol {image.zvol} cannot be moved: {doing}"),
    events.Grow: ("state", "ZVol {image.zvol} does not grow: {doing}"),
    events.Cancel: ("state", "ZVol {image.zvol} has nothing that can be cancelled: {doing}"),
    events.Retry: ("state", "ZVol {image.zvol} is not blocked: {doing}"),
    events.Abandon: ("state", "ZVol {image.zvol}: no host has changes of it to give up: {doing}"),
    events.StartSeed: ("state", "ZVol {image.zvol} waits for no copy: {doing}"),
    events.StartPull: ("state", "ZVol {image.zvol} waits for no pull: {doing}"),
    events.RetryDue: ("state", "ZVol {image.zvol} waits for no pause: {doing}"),
    events.GracePassed: ("state", "ZVol {image.zvol} is not due to be destroyed: {doing}"),
    events.StepDone: (
        "bug",
        "ZVol {image.zvol}: step {event.step} is unexpected: {doing}; please report this",
    ),
    events.StepFailed: (
        "bug",
        "ZVol {image.zvol}: step {event.step} is unexpected: {doing}; please report this",
    ),
}

_BY_PAIR: Dict[Pair, Tuple[str, str]] = {
    **{(state, events.Map): ("state", _MAPPED_ELSEWHERE) for state in (REMOTE, LOCAL, PULLING)},
    **{(state, events.Map): ("state", _BUSY_ELSEWHERE) for state in (MAPPED, SEEDING, SWITCHING)},
    (BLOCKED, events.Map): ("state", _BLOCKED),
    (BLOCKED, events.Unmap): ("state", _BLOCKED),
    (BLOCKED, events.PullNow): ("state", _BLOCKED),
    (BLOCKED, events.Retry): ("state", _BLOCKED),
    (MAPPING, events.Delete): ("busy", _BUSY),
    (RESTORING, events.Delete): ("busy", _BUSY),
    (DELETING, events.Delete): ("state", "Error deleting zvol {image.zvol}: {doing}"),
    (BLOCKED, events.Delete): ("state", "Error deleting zvol {image.zvol}: {doing}"),
    (DELETING, events.Undelete): ("busy", _BUSY),
    (DELETING, events.Restore): ("state", "ZVol {image.zvol} cannot be restored: {doing}"),
    (RESTORING, events.Restore): ("busy", _BUSY),
    (MOVING, events.Restore): ("busy", _BUSY),
    (MOVING, events.Delete): ("busy", _BUSY),
    **{(GROWING, event): ("busy", _BUSY) for event in (events.Delete, events.Restore, events.Move)},
    **{(state, events.Move): ("state", _UNMAP_TO_MOVE) for state in GUEST_MAY_RUN},
    **{(state, events.Grow): ("state", _UNMAP_TO_GROW) for state in GUEST_MAY_RUN},
    **{(state, events.Grow): ("busy", _BUSY) for state in (MAPPING, RETURNING, RESTORING, MOVING, GROWING)},
    (RETURNING, events.Cancel): ("state", "ZVol {image.zvol}: {doing}, and the changes must be written back"),
}

OVERTAKEN: Tuple[Type[Event], ...] = (events.StartSeed, events.StartPull, events.RetryDue, events.GracePassed)
"""Events of the scheduler that arrive too late are dropped silently."""


def reject(image: Image, event: Event) -> Rejection:
    """The rejection of a pair without a row."""
    family, template = _template(image.state, type(event))
    is_stale = isinstance(event, OVERTAKEN)
    return Rejection(family, format_text(template, image, event), is_stale, _CODES.get(template))


def format_text(template: str, image: Image, event: Any) -> str:
    """The text about this image and event."""
    dirty = ", ".join(copy.host for copy in image.copies if copy.kind == "dirty")
    doing = _DOING[image.state].format(image=image, event=event)
    return template.format(
        image=image,
        event=event,
        doing=doing,
        dirty=dirty,
        dirty_pools=", ".join(_place(copy) for copy in image.copies if copy.kind == "dirty"),
        unreturned=", ".join(image.unreturned_on()),
    )


def check_machine(image: Image, machine: str) -> None:
    """StateError for the image of another machine than that with this UUID; empty: of any.

    A removed machine of the same name has left it, or a machine was made anew under its name.
    """
    if machine and image.machine not in ("", machine):
        raise StateError(
            f"ZVol {image.zvol} on {image.nas} belongs to another machine ({image.machine}), not to this one "
            f"({machine}): remove it (rocks remove host storageimg {image.nas} {image.pool} {image.zvol}), or, if "
            f"this is that machine made anew, give it the UUID (rocks set host vm HOST uuid={image.machine})",
            code=Code.IMAGE_FOREIGN,
        )


def _place(copy: Copy) -> str:
    return f"{copy.host} (pool {copy.pool})" if copy.pool else copy.host


def _template(state: State, event: Type[Event]) -> Tuple[str, str]:
    return _BY_PAIR.get((state, event)) or _BY_EVENT[event]
