"""What can happen to an image. Requests carry the operation's id, results the number of the work they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Type

from rocks.imgstorage.model.facts import NOTHING, Facts


@dataclass(frozen=True)
class Event:
    """Anything that `machine.decide` can be given."""


# --- requests: of a command, or of an operator ---------------------------------------------------------------------


@dataclass(frozen=True)
class Map(Event):
    """Give the image to a host. `size_bytes` counts only when there is no volume yet.

    `lease_token` is the token of the virtual machine's lease, None for a use without a virtual machine; the
    host's `initiator` is the only one that may log in.
    """

    op_id: str
    host: str
    remote_pool: Optional[str]
    sync: bool
    initiator: str
    size_bytes: int
    lease_token: Optional[int] = None


@dataclass(frozen=True)
class Unmap(Event):
    """Take the image back from its host, with its changes."""

    op_id: str


@dataclass(frozen=True)
class PullNow(Event):
    """Bring the changes of a running guest home now."""

    op_id: str


@dataclass(frozen=True)
class Delete(Event):
    """Destroy the image after the grace period; `force` although a host has changes that the NAS has not."""

    op_id: str
    grace_seconds: int = 86400
    force: bool = False


@dataclass(frozen=True)
class Undelete(Event):
    """Take back a Delete whose grace period has not ended."""

    op_id: str


@dataclass(frozen=True)
class Restore(Event):
    """Make an earlier snapshot the present content."""

    op_id: str
    snapshot_name: str
    snapshot_guid: str


@dataclass(frozen=True)
class Cancel(Event):
    """Undo a map that is under way, or forget an unmap that is still waiting."""

    op_id: str


@dataclass(frozen=True)
class Configure(Event):
    """Set whether changes are kept when the image is unmapped."""

    op_id: str
    persistent: bool


@dataclass(frozen=True)
class Retry(Event):
    """An operator has mended what held the image: go on where it stopped."""

    op_id: str


@dataclass(frozen=True)
class Abandon(Event):
    """An operator gives up what only the owner host has.

    The reason is recorded. `is_fenced` says that the host is known to be off; otherwise `force` is needed.
    """

    op_id: str
    reason: str
    is_fenced: bool = False
    force: bool = False


@dataclass(frozen=True)
class HostLost(Event):
    """The owner host is gone, or is taken for gone."""

    host: str
    reason: str


@dataclass(frozen=True)
class CopyFound(Event):
    """A host's report of what it has of the image (when it starts, and every reconcile)."""

    host: str
    pool: str
    copy_epoch: int
    kind: str
    guid: Optional[str] = None


# --- of the schedule -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartSeed(Event):
    """A transfer slot for the copy to the host."""


@dataclass(frozen=True)
class StartPull(Event):
    """A transfer slot for bringing changes home."""


@dataclass(frozen=True)
class RetryDue(Event):
    """The pause after a failed step has passed."""


@dataclass(frozen=True)
class GraceOver(Event):
    """The grace period of a Delete has passed."""


@dataclass(frozen=True)
class Restarted(Event):
    """The NAS daemon has started: what is open must be done again."""


# --- results, as they come -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EffectDone(Event):
    """The effect at `position` of the work has been done on the NAS."""

    work_id: str
    position: int
    facts: Facts = NOTHING


@dataclass(frozen=True)
class EffectFailed(Event):
    """The effect at `position` has failed; `family` is the error's (rocks.errors)."""

    work_id: str
    position: int
    family: str
    message: str


@dataclass(frozen=True)
class HostDone(Event):
    """A host's answer: the action it was asked for is done."""

    work_id: str
    host: str
    epoch: int
    facts: Facts = NOTHING


@dataclass(frozen=True)
class HostFailed(Event):
    """A host's answer that an action failed, or the daemon's own that none came in time."""

    work_id: str
    host: str
    epoch: int
    family: str
    message: str


# --- results, as the table sees them -------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepDone(Event):
    """All effects of the open step are done. Made by `decide` itself."""

    step: str
    facts: Facts = NOTHING


@dataclass(frozen=True)
class StepFailed(Event):
    """An effect of the open step failed. Made by `decide` itself."""

    step: str
    family: str
    message: str


REQUESTS: Tuple[Type[Event], ...] = (
    Map,
    Unmap,
    PullNow,
    Delete,
    Undelete,
    Restore,
    Cancel,
    Configure,
    Retry,
    Abandon,
    HostLost,
    CopyFound,
)
SCHEDULED: Tuple[Type[Event], ...] = (StartSeed, StartPull, RetryDue, GraceOver, Restarted)
RESULTS: Tuple[Type[Event], ...] = (EffectDone, EffectFailed, HostDone, HostFailed)

TABLE_EVENTS: Tuple[Type[Event], ...] = (*REQUESTS, *SCHEDULED, StepDone, StepFailed)
"""The columns of the machine's table; a result becomes a StepDone or a StepFailed, or only moves the work on."""
