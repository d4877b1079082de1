"""Names of states, as the published service has them on the wire, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ACTIVE, PAUSED, SHUTDOWN, SHUTOFF = "active", "paused", "shutdown", "shutoff"
CRASHED, NOSTATE, NOSTATE_ERROR = "crashed", "nostate", "nostate-error"
"""States of a machine, as `rocks list host vm status=yes json=yes` prints them."""

NODE_STATES: Final = (ACTIVE, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, NOSTATE, NOSTATE_ERROR)

_POWER = {
    ACTIVE: "on",
    PAUSED: "paused",
    SHUTDOWN: "on",  # it is being shut down
    SHUTOFF: "off",
    NOSTATE: "off",
    CRASHED: "crashed",
}

UNMAPPED = "unmapped"
"""State of an image that is on its NAS only."""

_IN_USE = ("mapped", "NAS<-VM sched")
"""States of an image that its host uses, with or without a copy of its own; all others are on the way or between."""

READY, SYNCING, SYNCED = "ready", "syncing", "synced"
"""Where a node's disk is, for its owners: on the NAS, on its way, used by its host."""

CREATED, SUBMITTED, RUNNING, ENDING = "created", "submitted", "running", "ending"
COMPLETED, CANCELLED, FAILED = "completed", "cancelled", "failed"
LIVING_SETS: Final = (CREATED, SUBMITTED, RUNNING, ENDING)
ENDED_SETS: Final = (COMPLETED, CANCELLED, FAILED)
"""States of a computeset, in the order in which they follow each other."""

PENDING, ENDED, UNKNOWN = "pending", "ended", "unknown"
"""Besides RUNNING, states of a job of the batch system; it is unknown while nobody answers who knows it."""

TOO_FEW_HOSTS, HOSTS_AWAY = "not enough hosts are free", "hosts that it needs are not available"
OTHERS_FIRST = "others are before it"
SCHEDULER_AWAY = "the site's scheduler does not answer; it is asked again"
"""Why a computeset waits for hosts, in words for owners."""

QUEUED, SUCCEEDED = "queued", "succeeded"
ENDED_OPERATIONS: Final = (SUCCEEDED, FAILED, CANCELLED)


def is_ending(state: str, cancel_requested: str | None) -> bool:
    """Whether the end of a computeset has begun, or was asked for."""
    return state == ENDING or (state in LIVING_SETS and cancel_requested is not None)


def outcome_of(error: Mapping[str, Any] | None) -> str:
    """State of an operation that ends with this problem: one that its owner took back is cancelled, and not failed."""
    if error is None:
        return SUCCEEDED
    return CANCELLED if error["code"] == CANCELLED else FAILED


def power_of(state: str | None, *, has_host: bool = True) -> str:
    """on, off, paused, crashed or unknown, of the state of a machine. One that never had a host is off."""
    return "off" if state == NOSTATE_ERROR and not has_host else _POWER.get(state or "", "unknown")


def is_off(state: str | None, *, has_host: bool = True) -> bool:
    """Whether the machine certainly does not run."""
    return power_of(state, has_host=has_host) in ("off", "crashed")


def is_image_free(image_state: str | None, image_locked: bool | None) -> bool:
    """Whether the image is on its NAS only, or the machine has none on a NAS: it may be started elsewhere."""
    return image_state in (None, UNMAPPED) and not image_locked


def disk_state(image_state: str | None, image_locked: bool | None) -> str:
    """`frontend_state` and `compute_state` of the published service: READY, SYNCING or SYNCED.

    The state decides where it can: a NAS also locks an image that is mapped and stays there.
    """
    if image_state in _IN_USE:
        return SYNCED
    return READY if is_image_free(image_state, image_locked) else SYNCING
