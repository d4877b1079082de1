"""Every error the system tells a person, sorted by who can mend it.

One table, `FAMILIES`, turns a family into an exit status, an HTTP status and whether a retry is worth it; the
terminal, the agent's reply and the REST service all read it, so no two of them can disagree.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """What follows from an error: exit status of `rocks`, HTTP status, and whether trying again can help."""

    exit_status: int
    http_status: int
    retry: bool


FAMILIES = {
    "user": Family(1, 400, False),
    "state": Family(1, 409, False),
    "busy": Family(1, 423, True),
    "host": Family(1, 502, True),
    "tool": Family(1, 500, False),
    "incoherent": Family(1, 500, False),
    "bug": Family(1, 500, False),
}
"""Family name → consequences. The name travels in an agent's reply."""

EXIT_SOME_HOSTS_FAILED = 3
"""Exit status when a command was done on some hosts or virtual machines but not on all."""

EXIT_UNKNOWN_COMMAND = 255
"""Exit status of a word that is no command, and of a group of commands without an action of its own."""


class RocksError(Exception):
    """Something a person can act on; the text says what happened, to what, and what to do."""

    family = "bug"

    @property
    def exit_status(self) -> int:
        """Exit status of `rocks` for this error."""
        return FAMILIES[self.family].exit_status


class UserError(RocksError):
    """The request itself is wrong: a name, a value, a usage."""

    family = "user"


class StateError(RocksError):
    """The request is sound, but something else must be done first."""

    family = "state"


class PoolFullError(StateError):
    """A pool is full."""


class BusyError(RocksError):
    """Somebody else is at it just now; the same request may succeed later."""

    family = "busy"


class HostError(RocksError):
    """A machine cannot be reached or does not answer as it should; its operator can help."""

    family = "host"


class ToolError(RocksError):
    """A program or service we rely on refused or failed; its own words are in the text."""

    family = "tool"


class IncoherentError(RocksError):
    """Two places that should agree do not; nothing was changed."""

    family = "incoherent"


class BugError(RocksError):
    """A fault of this system; the text asks for a report."""

    family = "bug"


CLASSES: dict[str, type[RocksError]] = {
    cls.family: cls
    for cls in (UserError, StateError, BusyError, HostError, ToolError, IncoherentError, BugError)
}
"""Family name → class, to raise on this side what failed on the other side of a wire."""
