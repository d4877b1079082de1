"""Whether an operation that failed is tried again, and when. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.executor import UnreachedError
from nucleus.backends.rocks import SiteError
from nucleus.power_actions import RESTARTS
from rocks.core.errors import RocksError, StateError, UserError

if TYPE_CHECKING:
    from nucleus.records import Operation

_ONCE = {*RESTARTS, *(f"{name}_set" for name in RESTARTS), "start_member"}
"""Not tried again after a failure: resets, and starts that the computeset's machine repeats."""

_LONGEST_PAUSE_SECONDS = 30.0
_UNREACHED_ATTEMPTS = 15
"""While nobody listens at the executor's socket, which is so during its restart: five minutes, with `pause_seconds`."""

UNREACHED = "unreached"
"""Step of an attempt of which nothing was begun, since nobody listened: it is none of those that the settings allow."""


def is_outcome(error: RocksError, operation: Operation, max_attempts: int) -> bool:
    """Whether the error is the outcome: the attempts are used up, or the same request gets the same answer."""
    if isinstance(error, UnreachedError) and operation.kind not in RESTARTS:
        return operation.attempts >= _UNREACHED_ATTEMPTS
    is_refused = (
        error.reported_family in (UserError.family, StateError.family)
        if isinstance(error, SiteError)
        else isinstance(error, StateError)
    )
    unreached = sum(one.get("step") == UNREACHED for one in operation.progress)
    return is_refused or operation.kind in _ONCE or operation.attempts - unreached >= max_attempts


def pause_seconds(operation: Operation) -> float:
    """How long an operation that has failed waits for its next attempt."""
    return min(2.0 ** (operation.attempts - 1), _LONGEST_PAUSE_SECONDS)
