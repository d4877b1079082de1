"""ISO images, of projects and of everybody."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.clusters import bump_generation
from nucleus.mirror.columns import same_name, visible
from nucleus.records import NewEvent
from nucleus.states import QUEUED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nucleus.mirror.pool import Session
    from nucleus.records import Node, Scope


_UPLOADED = re.compile(r"nucleus-[0-9]+\.iso")
"""Names in the library of what was uploaded here."""


class Image(NamedTuple):
    """An image. `project_id` None: everybody's. `in_use`: nodes that have it in their drive, now or from the
    next power-on.
    """

    id: int
    project_id: int | None
    project: str | None
    name: str
    size_bytes: int
    sha256: str | None
    md5: str | None
    state: str
    uploaded_by: str | None
    created: datetime
    in_use: int

    @property
    def text(self) -> str:
        """The name by which clients refer to it."""
        return reference(self.project, self.name)

    @property
    def library_name(self) -> str:
        """Its name in the library of images of the site; one that was not uploaded here has its own there."""
        return self.name if self.uploaded_by is None and self.project_id is None else f"nucleus-{self.id}.iso"


_REFERENCE = "IF(i.project_id IS NULL, CONCAT('public/', i.name), CONCAT('project/', p.name, '/', i.name))"
_FROM = "FROM image i LEFT JOIN project p ON p.id = i.project_id"
_USER = "LEFT JOIN user u ON u.id = i.uploaded_by"
_COLUMNS = "i.id, i.project_id, p.name, i.name, i.size_bytes, i.sha256, i.md5, i.state, u.username, i.created"
_IMAGE = (
    f"SELECT {_COLUMNS},"
    f" (SELECT COUNT(*) FROM node n WHERE n.gone_at IS NULL AND {_REFERENCE} IN (n.iso, n.iso_active))"
    f" {_FROM} {_USER}"
)
_DRIVES = (
    "SELECT reference, COUNT(*) AS nodes FROM"
    " (SELECT id, iso COLLATE utf8mb4_bin AS reference FROM node WHERE gone_at IS NULL AND iso IS NOT NULL UNION"
    " SELECT id, iso_active COLLATE utf8mb4_bin FROM node WHERE gone_at IS NULL AND iso_active IS NOT NULL) d"
    " GROUP BY reference"
)
_IMAGES = (
    f"SELECT {_COLUMNS}, IFNULL(drives.nodes, 0) {_FROM} {_USER}"
    f" LEFT JOIN ({_DRIVES}) drives ON drives.reference = {_REFERENCE}"
)
"""Of many: the nodes are read once, not again for each image."""


def reference(project: str | None, name: str) -> str:
    """public/NAME or project/PROJECT/NAME."""
    return f"public/{name}" if project is None else f"project/{project}/{name}"


def _visible(scope: Scope) -> tuple[str, list[Any]]:
    condition, values = visible(scope, "i.project_id")
    return f"(i.project_id IS NULL OR {condition})", values


def list_images(session: Session, scope: Scope) -> list[Image]:
    """Images that the asker may use: the public ones, then those of projects, by name."""
    condition, values = _visible(scope)
    rows = session.rows(
        f"{_IMAGES} WHERE i.state = 'ready' AND {condition} ORDER BY p.name IS NOT NULL, p.name, i.name",
        values,
    )
    return [Image(*row) for row in rows]


def find_image(
    session: Session, scope: Scope, project: str | None, name: str, *, lock: bool = False
) -> Image | None:
    """The image of this name, of the project or of everybody; None when there is none that the asker may use.

    Images are files: the case of their names counts, that of the project's does not.
    """
    condition, values = _visible(scope)
    which = "p.name = %s" if project is not None else "i.project_id IS NULL"
    row = session.row(
        f"{_IMAGE} WHERE i.name = %s AND {which} AND {condition}{' FOR UPDATE' if lock else ''}",
        [name, *([project] if project is not None else []), *values],
    )
    found = Image(*row) if row else None
    if found is None or found.name != name or not same_name(found.project or "", project or ""):
        return None
    return found


def nodes_with(session: Session, scope: Scope, text: str) -> list[tuple[str, str, str, bool]]:
    """(cluster, kind, name) of the nodes that `Image.in_use` counts, as far as the asker may see them.

    With whether the image is to stay in the drive: it has been taken out of that of a machine that still runs with it.
    """
    condition, values = visible(scope)
    return [
        (cluster, kind, name, bool(stays))
        for cluster, kind, name, stays in session.rows(
            "SELECT c.name, n.kind, n.name, n.iso <=> %s FROM node n JOIN cluster c ON c.id = n.cluster_id"
            f" WHERE n.gone_at IS NULL AND %s IN (n.iso, n.iso_active) AND {condition} ORDER BY c.name, n.id",
            [text, text, *values],
        )
    ]


def attaching(session: Session, number: int) -> str | None:
    """An operation that has been asked to put the image into a drive, and has not ended."""
    found: list[str] = session.column(
        "SELECT id FROM operation WHERE kind = 'attach_iso' AND state IN (%s, %s)"
        " AND JSON_VALUE(arguments, '$.image') = %s LIMIT 1",
        (QUEUED, RUNNING, number),
    )
    return found[0] if found else None


def image_by_id(session: Session, number: int, *, lock: bool = False) -> Image | None:
    """The image, of any project: for workers and uploads."""
    row = session.row(f"{_IMAGE} WHERE i.id = %s{' FOR UPDATE' if lock else ''}", (number,))
    return Image(*row) if row else None


def add_image(
    session: Session, project_id: int | None, name: str, size_bytes: int, sha256: str, md5: str, user_id: int
) -> int:
    """Record an image that is here, and not in the library yet; its number. DuplicateError when the name is taken."""
    columns = {"project_id": project_id, "name": name, "size_bytes": size_bytes, "sha256": sha256, "md5": md5}
    return session.insert("image", {**columns, "uploaded_by": user_id, "state": "uploading"})


def is_taken(session: Session, project_id: int | None, name: str) -> bool:
    """Whether the project, or everybody (None), has an image of this name."""
    taken = "SELECT id FROM image WHERE project_id <=> %s AND name = %s"
    return session.row(taken, (project_id, name)) is not None


def set_state(session: Session, image_id: int, state: str) -> None:
    """ready: it can be used. deleting: it cannot any more."""
    session.update("image", {"state": state}, id=image_id)


def remove_image(session: Session, image_id: int) -> None:
    """Forget the image."""
    session.delete("image", id=image_id)


def unfinished(session: Session) -> list[int]:
    """The numbers of the images that the library does not have yet."""
    return session.column("SELECT id FROM image WHERE state = 'uploading'")


def public_names(session: Session) -> set[str]:
    """The names of the public images, whatever their state."""
    return set(session.column("SELECT name FROM image WHERE project_id IS NULL"))


def enter_library(session: Session, found: Mapping[str, int], before: Collection[str]) -> list[NewEvent]:
    """Have the public images that were not uploaded here be the ISOs of the site's library; what has changed.

    `found`: name → bytes. Those that were uploaded here are in the library, too; a name that a public upload has stays
    that upload's. `before`: the public names before it was listed; one that was removed since does not return by it.
    """
    public = {
        name: (number, size, bool(is_sites))
        for name, number, size, is_sites in session.rows(
            "SELECT name, id, size_bytes, uploaded_by IS NULL AND state = 'ready' FROM image WHERE project_id IS NULL"
        )
    }
    gone = {
        name: number
        for name, (number, size, is_sites) in public.items()
        if is_sites and found.get(name) != size
    }
    new = {
        name: size
        for name, size in found.items()
        if (name in gone or name not in {*public, *before}) and not _UPLOADED.fullmatch(name)
    }
    session.delete("image", id=list(gone.values()))
    session.insert_many(
        "INSERT INTO image (name, size_bytes, state) VALUES", [(*one, "ready") for one in new.items()]
    )
    return [
        *(NewEvent("image.removed", reference(None, name), "ready") for name in gone),
        *(NewEvent("image.added", reference(None, name), None, "ready") for name in new),
    ]


_IN_LIBRARY = "IF(i.uploaded_by IS NULL AND i.project_id IS NULL, i.name, CONCAT('nucleus-', i.id, '.iso'))"
"""`Image.library_name`, of many."""


def references(session: Session) -> dict[str, str]:
    """What `rocks` lists of a drive (`image=NAME`) → the name by which owners refer to that image."""
    sql = f"SELECT CONCAT('image=', {_IN_LIBRARY}), {_REFERENCE} {_FROM}"
    return dict(session.rows(sql))


def record_iso(session: Session, node: Node, text: str | None) -> None:
    """Note what was inserted: a poll that began before does not count."""
    bump_generation(session, [node.cluster_id])  # the cluster is locked before its nodes
    session.update("node", {"iso": text}, "last_command_at = UTC_TIMESTAMP(3)", id=node.id)


def image_usage(session: Session, project_id: int) -> tuple[int, int]:
    """(how many, bytes) of the project's images, with those that the library does not have yet."""
    return _image_usage(session, "project_id = %s", project_id)


def public_image_usage(session: Session, user_id: int) -> tuple[int, int]:
    """As `image_usage`, of everybody's images that a user has uploaded. Locks the user's row."""
    session.row("SELECT id FROM user WHERE id = %s FOR UPDATE", (user_id,))
    return _image_usage(session, "project_id IS NULL AND uploaded_by = %s", user_id)


def _image_usage(session: Session, condition: str, number: int) -> tuple[int, int]:
    row = session.row(f"SELECT COUNT(*), SUM(size_bytes) FROM image WHERE {condition}", (number,))
    count, size = row or (0, 0)
    return count, int(size or 0)
