"""Whether an operation that failed is tried again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.rocks import SiteError
from rocks.core.errors import RocksError, StateError, UserError

if TYPE_CHECKING:
    from nucleus.records import Operation

_ONCE = {"reset", "reboot", "reset_set", "reboot_set", "start_member"}
"""Not tried again after a failure: resets, and starts that the computeset's machine repeats."""


def is_outcome(error: RocksError, operation: Operation, max_attempts: int) -> bool:
    """Whether the error is the outcome: the attempts are used up, or the same request gets the same answer."""
    is_refused = (
        error.reported_family in (UserError.family, StateError.family)
        if isinstance(error, SiteError)
        else isinstance(error, StateError)
    )
    return is_refused or operation.kind in _ONCE or operation.attempts >= max_attempts
