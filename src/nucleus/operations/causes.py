"""What an owner reads of a failure. The operators' text, which names hosts, paths and commands, is for operators only.

Only texts that were written for owners pass: those of the two classes here. Every other error becomes a text of
`CAUSES`, by the code or family that `rocks` gave; never by its words.
"""

from __future__ import annotations

from nucleus.backends.rocks import SiteError
from nucleus.records import JsonObject
from rocks.core.errors import Code, HostError, RocksError, StateError

CAUSES: dict[str, str] = {
    Code.MACHINE_UNKNOWN.value: "the site has removed or replaced {what}, as lists show in a minute; try again then",
    Code.HOST_FULL.value: "the host that {what} was given has too little left for it; try again later",
    Code.POOL_FULL.value: "the site's storage has no space for {what}",
    Code.LIBRARY_IMAGE_EXISTS.value: "the site's library has something else in the place of {what}",
    Code.LIBRARY_IMAGE_UNKNOWN.value: "the image for {what} is not in the site's library any more; choose another",
    Code.LIBRARY_IMAGE_IN_USE.value: "a machine has {what} in its drive; take it out first, and try again",
    Code.DISK_HAS_SNAPSHOTS.value: "the site has snapshots of the disk of {what}, which it must remove first",
    Code.DISK_HAS_CLONES.value: (
        "other nodes have clones of the disk of {what}: first reinstall those with an image (comet reinstall "
        "--image=NAME)"
    ),
    Code.DISK_IS_CLONE.value: (
        "the disk of {what} is a clone of another node's: choose an image for the new one (comet reinstall "
        "--image=NAME)"
    ),
    Code.DISK_HAS_NO_IMAGE.value: (
        "{what} has no image from which a fresh disk can be made: choose one (comet reinstall --image=NAME)"
    ),
    Code.FILE_REJECTED.value: "what was uploaded is not the ISO that it should be; upload it again",
    Code.MEDIUM_OVERRIDDEN.value: "the site has put another image into the drive of {what}",
    Code.INSTALLER_FAILED.value: "{what} did not boot its installer, which only the site's operators can change",
    Code.MOVE_INTERRUPTED.value: "a move of {what} to another host was interrupted, which the site must end first",
    Code.IMAGE_BUSY.value: "the disk of {what} is being transferred; wait until it is ready, and try again",
    Code.IMAGE_MAPPED.value: "the disk of {what} is in use; wait until it is ready, and try again",
    Code.IMAGES_FOLLOW.value: "the disk of {what} is being transferred; wait until it is ready, and try again",
    "busy": "the site is changing {what} at this moment; try again in a minute",
    "host": "the site does not answer for {what} now; try again later",
    "state": "the site does not allow this in the present state of {what}",
    "": "the site could not do this for {what}",
}
"""Code of an error, or its family, to the owners' text; "" is every other."""


class RefusedError(StateError):
    """Nucleus refuses it; the text is for owners."""


class CancelledError(RefusedError):
    """Its owner has ended what it is a part of: the operation is cancelled."""


class UnfinishedError(HostError):
    """Something was not done, or not within its time; the text is for owners. `result`: of what was done, if stored."""

    def __init__(self, message: str, result: JsonObject | None = None) -> None:
        super().__init__(message)
        self.result = result


CAUSE = "cause"
"""Key of the operators' text in the stored error of an operation."""


def error_for(error: JsonObject | None, is_operator: bool) -> JsonObject | None:
    """The stored error of an operation as its asker may read it: `detail` has the operators' text, or the owners'."""
    if error is None or CAUSE not in error:
        return error
    detail = error[CAUSE] if is_operator else error["detail"]
    return {"code": error["code"], "detail": detail}


def owners_text(error: RocksError, what: str, reference: str) -> str:
    """The text for owners. `what`: their name of what it is about; `reference`: "operation ID" or "request ID"."""
    if isinstance(error, RefusedError | UnfinishedError):
        return str(error)
    family, code = (
        (error.reported_family, error.reported_code) if isinstance(error, SiteError) else (error.family, "")
    )
    known = [CAUSES[key] for key in (code, family) if key and key in CAUSES]
    cause = known[0] if known else CAUSES[""]
    return f"{cause.format(what=what)}; if this lasts, ask the site's operators, and name {reference}"
