"""The events of an image. A request has the id of its operation, a result the number of its work."""

from __future__ import annotations

from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.storage.image.effects import Grant
from rocks.storage.image.image import NOTHING, Facts


@dataclass(frozen=True)
class Event:
    """The base class: an event that `StateMachine.decide` accepts."""


@dataclass(frozen=True)
class Request(Event):
    """The base class of what a command or an operator asks."""

    op_id: str


# --- requests: of a command, or of an operator ---------------------------------------------------------------------


@dataclass(frozen=True)
class Map(Request):
    """Give the image to a host. `size_bytes` counts only when there is no volume yet.

    `lease_token` is the token of the virtual machine's lease, None for a use without a virtual machine, and `machine`
    its UUID, empty without one; the host's `initiator` is the only one that may log in.
    """

    host: str
    remote_pool: Optional[str]
    sync: bool
    initiator: str
    size_bytes: int
    lease_token: Optional[int] = None
    machine: str = ""


class Unmap(Request):
    """Take the image back from its host, with its changes."""


class PullNow(Request):
    """Write the changes of a running guest back to the NAS now."""


@dataclass(frozen=True)
class Delete(Request):
    """Destroy the image after the grace period; `force` discards changes that only a host has."""

    grace_seconds: int = 86400
    force: bool = False


class Undelete(Request):
    """Revoke a Delete whose grace period has not ended."""


@dataclass(frozen=True)
class Restore(Request):
    """Make an earlier snapshot the present content."""

    snapshot_name: str
    snapshot_guid: str


@dataclass(frozen=True)
class Move(Request):
    """Move the image to the pool `pool` of the NAS `nas`; the volume here is destroyed after the grace period."""

    nas: str
    pool: str
    grace_seconds: int = 86400


@dataclass(frozen=True)
class Grow(Request):
    """Give the volume this size; it never shrinks."""

    size_bytes: int


class Cancel(Request):
    """Undo a map or a move that is under way, or forget an unmap that is still waiting."""


@dataclass(frozen=True)
class Configure(Request):
    """Set whether changes persist when the image is unmapped."""

    persistent: bool


@dataclass(frozen=True)
class Retry(Request):
    """An operator has fixed the cause that blocked the image: go on where it stopped.

    `standing` is the grant on the volume at this moment, None without a volume: it counts where the record disagrees.
    """

    standing: Optional[Grant] = None


@dataclass(frozen=True)
class Abandon(Request):
    """An operator abandons the changes that only the owner host has.

    The reason is recorded. `standing` as in Retry: the new epoch exceeds that of the volume too.
    """

    reason: str
    standing: Optional[Grant] = None


@dataclass(frozen=True)
class CopyFound(Event):
    """A host's report about its copy of the image."""

    host: str
    pool: str
    copy_epoch: int
    kind: str
    guid: Optional[str] = None


# --- of the scheduler -----------------------------------------------------------------------------------------------


class StartSeed(Event):
    """A transfer slot is free for the copy to the host."""


class StartPull(Event):
    """A transfer slot is free for writing changes back."""


class RetryDue(Event):
    """The pause after a failed step has passed."""


@dataclass(frozen=True)
class GracePassed(Event):
    """So much of the grace period of an image marked for destruction has passed since it was counted last; all of it
    when the time is due as well.
    """

    seconds: int


class Restarted(Event):
    """The NAS daemon has started: open effects must be performed again."""


@dataclass(frozen=True)
class Contradicted(Event):
    """The volume has another grant than the record, or the host has gone further: found when the daemon starts, or when
    the host rejects its newest request. `text` has both values.
    """

    text: str
    by_host: bool = False


# --- results, as they arrive -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EffectDone(Event):
    """The effect at `position` of the work was performed on the NAS."""

    work_id: str
    position: int
    facts: Facts = NOTHING


@dataclass(frozen=True)
class EffectFailed(Event):
    """The effect at `position` has failed; `family` and `code` are the error's (rocks.core.errors)."""

    work_id: str
    position: int
    family: str
    message: str
    code: str = ""


@dataclass(frozen=True)
class HostDone(Event):
    """A host's answer: the request is done."""

    work_id: str
    host: str
    epoch: int
    facts: Facts = NOTHING


@dataclass(frozen=True)
class HostFailed(Event):
    """A host's answer that a request failed, or the daemon's own event when no answer came in time."""

    work_id: str
    host: str
    epoch: int
    family: str
    message: str
    code: str = ""


# --- results, as the table sees them -------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepDone(Event):
    """All effects of the open step are done. Made by the state machine."""

    step: str
    facts: Facts = NOTHING


@dataclass(frozen=True)
class StepFailed(Event):
    """An effect of the open step failed. Made by the state machine."""

    step: str
    family: str
    message: str
    code: str = ""
