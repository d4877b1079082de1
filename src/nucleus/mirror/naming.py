"""Names of nodes, which their owners choose."""

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
