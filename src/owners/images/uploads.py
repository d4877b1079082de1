"""Uploads of ISO images that are not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import columns_of, new_ulid

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session

UPLOAD_HOURS = 24
"""An upload that got nothing for so long is forgotten."""

UPLOAD_PAUSE_SECONDS = 60
"""After which silence of an upload its user may begin it anew under its name."""


class Upload(NamedTuple):
    """An image that is being sent: `offset_bytes` of `size_bytes` are there."""

    id: str
    image_id: int
    user_id: int
    size_bytes: int
    offset_bytes: int


_UPLOAD = f"SELECT {columns_of('upload', Upload._fields)} FROM upload"


def add_upload(session: Session, project_id: int | None, name: str, size_bytes: int, user_id: int) -> Upload:
    """Reserve the name and the bytes. DuplicateError when the name is taken."""
    columns = {"project_id": project_id, "name": name, "size_bytes": size_bytes, "uploaded_by": user_id}
    image_id = session.insert("image", {**columns, "state": "uploading"})
    upload = Upload(new_ulid(), image_id, user_id, size_bytes, 0)
    session.insert("upload", upload._asdict())
    return upload


def is_taken(session: Session, project_id: int | None, name: str) -> bool:
    """Whether the project, or everybody (None), has an image of this name, or one that is being uploaded."""
    taken = "SELECT id FROM image WHERE project_id <=> %s AND name = %s"
    return session.row(taken, (project_id, name)) is not None


def find_upload(session: Session, identifier: str, user_id: int) -> Upload | None:
    """The user's own upload."""
    if not identifier.isascii():  # the database compares the column with ASCII only
        return None
    row = session.row(f"{_UPLOAD} WHERE id = %s AND user_id = %s", (identifier, user_id))
    return Upload(*row) if row else None


def silent_upload(session: Session, project_id: int | None, name: str, user_id: int) -> Upload | None:
    """The user's own upload of this name of which nothing was noted lately: its program was ended, its answer was lost,
    or its part is long and comes slowly.
    """
    row = session.row(
        f"{_UPLOAD} JOIN image i ON i.id = upload.image_id"
        " WHERE i.project_id <=> %s AND i.name = %s AND upload.user_id = %s"
        f" AND touched < UTC_TIMESTAMP(3) - INTERVAL {UPLOAD_PAUSE_SECONDS} SECOND",
        (project_id, name, user_id),
    )
    return Upload(*row) if row else None


def old_uploads(session: Session) -> list[Upload]:
    """Uploads that got nothing for a long time."""
    rows = session.rows(
        f"{_UPLOAD} WHERE touched < UTC_TIMESTAMP(3) - INTERVAL {UPLOAD_HOURS} HOUR LIMIT 100"
    )
    return [Upload(*row) for row in rows]
