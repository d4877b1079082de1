"""Images of owners: in the image library of the site, in the drives of nodes, and on their disks."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.backends.rocks import SiteError
from nucleus.mirror import clusters
from nucleus.mirror.events import append_events
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import LaterError
from nucleus.operations.power import check_unused
from nucleus.operations.retries import is_outcome
from nucleus.operations.worker import of_each_node
from nucleus.records import SYSTEM, JsonObject, NewEvent
from nucleus.states import ENDING
from owners.images import records as images
from rocks.core.errors import BusyError, Code, RocksError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job
    from nucleus.records import Node

_LOOK_SECONDS = 5.0


def add_image(job: Job) -> JsonObject:
    """Import the file of the arguments, whose digest is known; then it can be used, and the file is removed.

    One that the library does not take is forgotten: its name and its bytes are free for another.
    """
    arguments = job.operation.arguments
    path = Path(arguments["path"])
    found = job.transaction(lambda session: images.image_by_id(session, arguments["image"]))
    if found is None:
        raise RefusedError("the image was removed meanwhile")
    if found.state == "uploading":
        try:
            _import(job, found, path)
        except RocksError as error:
            if is_outcome(error, job.operation, job.tools.settings.attempts):
                job.transaction(lambda session: images.remove_image(session, found.id))
                path.unlink(missing_ok=True)
            raise

        def enter(session: Session) -> None:
            images.set_state(session, found.id, "ready")
            append_events(session, [NewEvent("image.added", found.text, None, "ready", found.project_id)])

        job.transaction(enter)
    path.unlink(missing_ok=True)
    return {"image": found.text}


def _import(job: Job, image: images.Image, path: Path) -> None:
    if not path.exists():
        raise RefusedError(f"the file of {image.text} is gone; upload it again")
    was_begun = job.has("import")
    job.store("import")
    try:
        job.rocks.add_image(image.library_name, str(path), job.operation.arguments["sha256"])
    except SiteError as error:
        if not (was_begun and error.reported_code == Code.LIBRARY_IMAGE_EXISTS):  # before a worker was killed
            raise


def remove_image(job: Job) -> JsonObject:
    """Remove it from the library, and then from the mirror. One that the library keeps can be used again."""
    arguments = job.operation.arguments
    job.store("remove")
    try:
        job.rocks.remove_image(arguments["library_name"])
    except RocksError as error:
        # else it was removed before a worker was killed
        if not (isinstance(error, SiteError) and error.reported_code == Code.LIBRARY_IMAGE_UNKNOWN):
            if is_outcome(error, job.operation, job.tools.settings.attempts):
                job.transaction(lambda session: _restore(session, job))
            raise
    job.transaction(lambda session: images.remove_image(session, arguments["image"]))
    return {}


def _restore(session: Session, job: Job) -> None:
    found = images.image_by_id(session, job.operation.arguments["image"], lock=True)
    session.update("operation", {"unique_key": None}, id=job.operation.id)  # the same may be asked for again
    if found is not None and found.state == "deleting":
        images.set_state(session, found.id, "ready")
        append_events(session, [NewEvent("image.added", found.text, "deleting", "ready", found.project_id)])


def attach_iso(job: Job) -> JsonObject:
    """As `_attach`, for the operation's node, or for each of the nodes of its arguments."""
    is_of_many = "nodes" in job.operation.arguments and job.operation.target_node is None
    return of_each_node(job, "attach_iso") if is_of_many else _attach(job)


def _attach(job: Job) -> JsonObject:
    """Insert the image of the arguments, or take out what is inserted; it counts from the next power-on."""
    if job.target.set_state == ENDING:  # it was asked for before, for many nodes
        raise RefusedError(
            f"the computeset {job.target.computeset} of {job.target.name} is ending; when it has ended, insert or"
            " remove the image again"
        )
    image = job.operation.arguments.get("image")
    medium = None
    if image is not None:
        found = job.transaction(lambda session: images.image_by_id(session, int(image)))
        if found is None or found.state != "ready":
            raise RefusedError(f"the image {job.operation.arguments.get('iso')} was removed meanwhile")
        medium = f"image={found.library_name}"
    job.store("cdrom", medium=medium)
    job.rocks.set_cdrom(job.target.machine, medium)
    reference = job.operation.arguments.get("iso") if medium else None
    job.transaction(lambda session: images.record_iso(session, job.target, reference))
    return {"iso": reference}


def reinstall(job: Job) -> JsonObject:
    """Have the node's first disk made anew at its next start. Done twice, it removes no more: the node is off."""
    image = job.operation.arguments.get("reference")
    with _while_unused(job, "reinstall", job.target):
        job.rocks.reinstall(job.target.machine, image)
    return {"image": image}


def clone(job: Job) -> JsonObject:
    """Replace the node's first disk by a clone of that of the compute of the arguments."""
    number = int(job.operation.arguments["original"])
    original = job.transaction(lambda session: clusters.nodes_by_id(session, SYSTEM, [number]).get(number))
    if original is None or original.gone_at is not None:
        raise RefusedError("the node whose disk was to be cloned was removed from the site")
    with _while_unused(job, "clone", original, job.target):
        job.rocks.clone(original.machine, job.target.machine)
    return {"original": original.name}


@contextlib.contextmanager
def _while_unused(job: Job, step: str, *nodes: Node) -> Iterator[None]:
    """RefusedError unless the nodes are off with their disks on the NAS: they may have been started since.

    LaterError while the command of a worker that was killed goes on, which the executor lets end.
    """
    was_begun = job.has(step)
    for node in nodes:
        check_unused(node, job.rocks.read_state(node.machine))
    job.store(step)
    try:
        yield
    except SiteError as error:
        if was_begun and error.reported_family == BusyError.family:
            raise LaterError(_LOOK_SECONDS) from error
        raise
