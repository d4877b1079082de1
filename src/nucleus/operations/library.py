"""Images of owners, in the image library of the site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.mirror import images
from nucleus.mirror.events import append_events
from nucleus.records import JsonObject, NewEvent
from rocks.errors import StateError, ToolError

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job


def add_image(job: Job) -> JsonObject:
    """Import the file of the arguments, whose digest is known; then it can be used, and the file is removed."""
    arguments = job.operation.arguments
    path = Path(arguments["path"])
    found = job.transaction(lambda session: images.image_by_id(session, arguments["image"]))
    if found is None:
        raise StateError("the image was removed meanwhile")
    if found.state == "uploading":
        if not path.exists():
            raise StateError(f"the file of {found.text} is gone; upload it again")
        was_begun = job.has("import")
        job.store("import")
        try:
            job.rocks.add_image(found.library_name, str(path), arguments["sha256"])
        except ToolError as error:
            if not (was_begun and "already" in str(error)):  # imported before a worker was killed
                raise

        def enter(session: Session) -> None:
            images.set_state(session, found.id, "ready")
            append_events(session, [NewEvent("image.added", found.text, None, "ready", found.project_id)])

        job.transaction(enter)
    path.unlink(missing_ok=True)
    return {"image": found.text}


def remove_image(job: Job) -> JsonObject:
    """Remove it from the library, and then from the mirror."""
    arguments = job.operation.arguments
    job.store("remove")
    try:
        job.rocks.remove_image(arguments["library_name"])
    except ToolError as error:
        if "there is no image" not in str(error):  # it was removed before a worker was killed
            raise
    job.transaction(lambda session: images.remove_image(session, arguments["image"]))
    return {}
