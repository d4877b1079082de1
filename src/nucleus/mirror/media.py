"""ISOs in the drives of nodes: `rocks` knows them by their names in the site's library, owners by their references."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session
    from nucleus.records import Node

_IN_LIBRARY = "IF(i.uploaded_by IS NULL AND i.project_id IS NULL, i.name, CONCAT('nucleus-', i.id, '.iso'))"


def library_name(session: Session, image_id: int) -> str | None:
    """The name of an image in the site's library; None when it is not there (any more)."""
    row = session.row(f"SELECT {_IN_LIBRARY} FROM image i WHERE i.id = %s AND i.state = 'ready'", (image_id,))
    return str(row[0]) if row else None


def references(session: Session) -> dict[str, str]:
    """What `rocks` lists of a drive (`image=NAME`) → the name by which owners refer to that image."""
    return dict(
        session.rows(
            f"SELECT CONCAT('image=', {_IN_LIBRARY}), IF(i.project_id IS NULL, CONCAT('public/', i.name),"
            " CONCAT('project/', p.name, '/', i.name)) FROM image i LEFT JOIN project p ON p.id = i.project_id"
        )
    )


def record_iso(session: Session, node: Node, reference: str | None) -> None:
    """Note what was inserted: a poll that began before does not count."""
    session.execute(
        "UPDATE node SET iso = %s, last_command_at = UTC_TIMESTAMP(3) WHERE id = %s", (reference, node.id)
    )
    session.execute("UPDATE cluster SET generation = generation + 1 WHERE id = %s", (node.cluster_id,))
