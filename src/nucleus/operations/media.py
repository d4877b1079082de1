"""The CD of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror.media import library_name, record_iso
from nucleus.records import JsonObject
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from nucleus.operations.job import Job


def attach_iso(job: Job) -> JsonObject:
    """Insert the image of the arguments, or take out what is inserted; it counts from the next power-on."""
    image = job.operation.arguments.get("image")
    medium = None
    if image is not None:
        name = job.transaction(lambda session: library_name(session, int(image)))
        if name is None:
            raise StateError(f"the image {job.operation.arguments.get('iso')} was removed meanwhile")
        medium = f"image={name}"
    job.store("cdrom", medium=medium)
    job.rocks.set_cdrom(job.target.rocks_name, medium)
    reference = job.operation.arguments.get("iso") if medium else None
    job.transaction(lambda session: record_iso(session, job.target, reference))
    return {"iso": reference}
