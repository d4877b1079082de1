"""Every error that the system reports to a person, sorted by the person who can fix it.

A program that distinguishes errors of one family (`FAMILIES`) compares their codes (`Code`), never their texts.
"""

from __future__ import annotations

import enum
from typing import Dict, Iterable, Iterator, Optional, Tuple, TypeVar, Union

FAMILIES = {
    "user": False,
    "state": False,
    "busy": True,
    "host": True,
    "tool": False,
    "incoherent": False,
    "bug": False,
}
"""Family name → whether a repetition can succeed. The name travels in an agent's reply."""

EXIT_SOME_HOSTS_FAILED = 3
"""Exit status when a command was done on some hosts or virtual machines but not on all."""

EXIT_UNKNOWN_COMMAND = 255
"""Exit status of an unknown command, and of a group of commands without an action of its own."""


class Code(str, enum.Enum):
    """The cause of an error, for programs. Answers contain its value beside the family."""

    ACTION_UNSUPPORTED = "action_unsupported"
    """The receiver does not know the requested action."""

    POOL_FULL = "pool_full"
    """A pool has no space for the operation."""

    POOL_MISSING = "pool_missing"
    """The machine has no such pool."""

    HOST_FULL = "host_full"
    """The host has too little left of what the machine needs: memory, cores, devices."""

    IMAGE_UNKNOWN = "image_unknown"
    """The NAS has no such image."""

    IMAGE_BUSY = "image_busy"
    """The image is in a temporary state; the same request may succeed later."""

    IMAGE_MAPPED = "image_mapped"
    """The image is mapped to a host already."""

    IMAGE_NOT_MAPPED = "image_not_mapped"
    """The image is mapped to no host."""

    HOST_AHEAD = "host_ahead"
    """A host has gone further with the image than the record of its NAS."""

    IMAGE_FOREIGN = "image_foreign"
    """The disk on a host belongs to another virtual machine."""

    IMAGE_UNOWNED = "image_unowned"
    """The disk on a host exists, and no virtual machine is recorded as its owner."""

    IMAGES_FOLLOW = "images_follow"
    """The machine has arrived on its new host, and its images on a NAS have not."""

    MEDIUM_ALTERED = "medium_altered"
    """A host's copy of an ISO is not what the host received."""

    MACHINE_UNKNOWN = "machine_unknown"
    """No virtual machine has the UUID."""

    LIBRARY_IMAGE_EXISTS = "library_image_exists"
    """The library has an image of this name."""

    LIBRARY_IMAGE_UNKNOWN = "library_image_unknown"
    """The library has no image of this name."""

    LIBRARY_IMAGE_IN_USE = "library_image_in_use"
    """Virtual machines have the image of the library in their drive, or are to have disks from it."""

    DISK_HAS_SNAPSHOTS = "disk_has_snapshots"
    """The machine has snapshots of the disk that is to be replaced."""

    DISK_HAS_CLONES = "disk_has_clones"
    """Disks of other machines are clones of the disk that is to be replaced."""

    DISK_IS_CLONE = "disk_is_clone"
    """The disk is a clone of another machine's, and would be made from an image."""

    DISK_HAS_NO_IMAGE = "disk_has_no_image"
    """The machine has no image from which a fresh disk would be made."""

    FILE_REJECTED = "file_rejected"
    """The file is not the image that it was stated to be."""

    MEDIUM_OVERRIDDEN = "medium_overridden"
    """An attribute of a wider scope inserts another medium."""

    INSTALLER_FAILED = "installer_failed"
    """The machine is to boot an installer, and its host did not start it so."""

    MOVE_INTERRUPTED = "move_interrupted"
    """The machine was moving to another host when the command was interrupted."""


class RocksError(Exception):
    """An error that a person can act on. The text states what happened, to what, and what to do.

    `code` is set where a program decides by it, else None. `nothing_done`: the host it is about has begun nothing of
    what was requested.
    """

    family = "bug"
    exit_status = 1
    """Of `rocks` for this error."""

    nothing_done = False

    def __init__(self, message: str = "", *, code: Optional[Code] = None) -> None:
        super().__init__(message)
        self.code = code


class UserError(RocksError):
    """The request itself is wrong: a name, a value, a usage."""

    family = "user"


class StateError(RocksError):
    """The request is valid, but another operation must come first."""

    family = "state"


class BusyError(RocksError):
    """Another operation is in progress; the same request may succeed later."""

    family = "busy"


class PoolFullError(BusyError):
    """A pool is full: the same request succeeds when it has space."""

    def __init__(self, message: str = "", *, code: Optional[Code] = Code.POOL_FULL) -> None:
        super().__init__(message, code=code)


class HostError(RocksError):
    """A machine cannot be reached or answers incorrectly; its operator can fix it."""

    family = "host"


class ToolError(RocksError):
    """A program or service that the system relies on failed; the text contains its own message."""

    family = "tool"


class IncoherentError(RocksError):
    """Two records that should agree differ; nothing was changed."""

    family = "incoherent"


class BugError(RocksError):
    """A defect of this system; the text asks for a report."""

    family = "bug"


_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


def without_errors(
    answers: Iterable[Tuple[_Key, Union[_Answer, RocksError]]], errors: Dict[_Key, RocksError]
) -> Iterator[Tuple[_Key, _Answer]]:
    """The answers that are no errors; an error is put into `errors`, under its key."""
    for key, answer in answers:
        if isinstance(answer, RocksError):
            errors[key] = answer
        else:
            yield key, answer


CLASSES: dict[str, type[RocksError]] = {
    cls.family: cls
    for cls in (UserError, StateError, BusyError, HostError, ToolError, IncoherentError, BugError)
}
"""Family name → class, to raise here an error that another process reported."""


def interrupt_of(error: Optional[BaseException]) -> Optional[KeyboardInterrupt]:
    """The interrupt that ended a program; what it did at its end may have failed, as on a connection that is closed."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def received_error(family: object, message: str, code: object) -> RocksError:
    """The error that another process reported. An unknown family becomes ToolError, an unknown code None."""
    known = Code(code) if code in Code.__members__.values() else None
    return CLASSES.get(str(family), ToolError)(message, code=known)


def code_of(error: RocksError) -> str:
    """The error's code as text; '' without one."""
    return "" if error.code is None else error.code.value
