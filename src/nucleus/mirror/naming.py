"""What people decide about clusters and nodes, and no poll changes: names, projects, permission to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror.columns import placeholders

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session


def rename_nodes(session: Session, names: dict[int, str]) -> None:
    """Number of a node → its new name; all at once, so that names can be swapped. DuplicateError when one is taken."""
    if not names:
        return
    # each statement checks the unique names row by row: all old ones go first
    session.execute(
        f"UPDATE node SET name = CONCAT('~', id) WHERE id IN ({placeholders(names)})", list(names)
    )
    cases = " ".join("WHEN %s THEN %s" for _ in names)
    values = [value for pair in names.items() for value in pair]
    session.execute(
        f"UPDATE node SET name = CASE id {cases} END WHERE id IN ({placeholders(names)})", [*values, *names]
    )


def assign_cluster(session: Session, cluster_id: int, project_id: int | None) -> None:
    """Give the cluster to a project, or take it back."""
    session.execute("UPDATE cluster SET project_id = %s WHERE id = %s", (project_id, cluster_id))


def set_description(session: Session, cluster_id: int, text: str) -> None:
    """Replace the description."""
    session.execute("UPDATE cluster SET description = %s WHERE id = %s", (text, cluster_id))


def set_account(session: Session, cluster_id: int, username: str) -> None:
    """Replace the Unix account of the cluster's jobs."""
    session.execute("UPDATE cluster SET username = %s WHERE id = %s", (username, cluster_id))


def set_disabled(session: Session, node_id: int, is_disabled: bool) -> None:
    """Have nobody start the node, or its owners again."""
    session.execute("UPDATE node SET admin_disabled = %s WHERE id = %s", (is_disabled, node_id))
