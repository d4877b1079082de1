"""The life of an interval of a reservation. Pure: TABLE has the rows of the controller.

Two changes are made beside it: `records.cancel` ends what waits as `cancelled`, and `records.fail_all` ends all
intervals of a site that is gone as `failed`.

An event that has no row in a state changes nothing. `boot` and `stop` are stored operations that can be repeated; their
ends are events.
"""

from __future__ import annotations

from typing import NamedTuple

from owners.reservations.records import CANCELLED, FAILED, RUNNING, STARTING, STOPPED, STOPPING, WAITING

NOT_STARTED, TOO_LATE = "the cluster was not started", "the cluster did not answer in time"
BEGIN, STOP = "begin", "stop"
"""Names of timers, which are the kinds of their events. Others: cancel, gone, and the ends of operations."""


class Step(NamedTuple):
    """What follows from an event. `action`: boot or stop, an operation; `reason`: in words for owners.

    `is_failure`: the interval ends `failed`, since its cluster never ran.
    """

    state: str
    action: str = ""
    reason: str | None = None
    is_failure: bool = False


TABLE: dict[tuple[str, str], Step] = {
    (WAITING, "cancel"): Step(CANCELLED),
    (WAITING, "gone"): Step(FAILED, reason="the site's scheduler has ended the reservation"),
    (WAITING, STOP): Step(FAILED, reason="the service did not run at its time"),
    (WAITING, BEGIN): Step(STARTING, "boot"),
    (STARTING, "cancel"): Step(STOPPING, "stop", "cancelled"),
    (STARTING, "gone"): Step(
        STOPPING, "stop", "the site's scheduler has ended the reservation", is_failure=True
    ),
    (STARTING, "boot_failed"): Step(STOPPING, "stop", NOT_STARTED, is_failure=True),
    (STARTING, "booted"): Step(RUNNING),
    (STARTING, STOP): Step(STOPPING, "stop", TOO_LATE, is_failure=True),
    (RUNNING, "cancel"): Step(STOPPING, "stop", "cancelled"),
    (RUNNING, "gone"): Step(STOPPING, "stop", "the site's scheduler has ended the reservation"),
    (RUNNING, STOP): Step(STOPPING, "stop"),
    (STOPPING, "stop_failed"): Step(STOPPING, "stop"),
    (STOPPING, "cleaned"): Step(STOPPED),
    (STOPPING, "cleaned_after_failure"): Step(FAILED),
}
"""(state, kind of event) → what follows."""
