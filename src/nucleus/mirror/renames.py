"""Machines that the site has renamed: their rows stay theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror.clusters import bump_generation
from nucleus.mirror.columns import placeholders
from nucleus.mirror.observations import forget_rocks_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from nucleus.mirror.pool import Session


def respell(session: Session, known: Iterable[str], listed: Collection[str]) -> bool:
    """Take over the listed spelling of names in Rocks that differ from it in case only; whether there is one.

    To Rocks, and to the database, both are the same name.
    """
    spelled = {name.lower(): name for name in listed}
    changed = [spelled[name.lower()] for name in known if name not in listed and name.lower() in spelled]
    if changed:  # the clusters are locked before nodes
        session.rows("SELECT id FROM cluster ORDER BY id FOR UPDATE")
    for table in ("cluster", "node"):
        for name in changed:
            session.execute(f"UPDATE {table} SET rocks_name = %s WHERE rocks_name = %s", (name, name))
    return bool(changed)


def follow_renames(session: Session, names: Mapping[str, str]) -> None:
    """Give machines, and the clusters of frontends, the new names in Rocks; old name → new one. Two may swap theirs.

    Owners see the new one, unless they have renamed a node, or another has it.
    """
    session.rows("SELECT id FROM cluster ORDER BY id FOR UPDATE")  # before nodes
    new_names = {old.lower(): new for old, new in names.items()}
    for table in ("cluster", "node"):
        rows = session.rows(
            f"SELECT rocks_name, id, name FROM {table} WHERE rocks_name IN ({placeholders(names)})", [*names]
        )
        entered = session.column(
            f"SELECT id FROM {table} WHERE rocks_name IN ({placeholders(names)})", [*names.values()]
        )
        numbers = [number for _, number, _ in rows]
        # a poll whose commands ran during the rename may have entered the new one
        others = [number for number in entered if number not in numbers]
        session.update(table, {}, "gone_at = IFNULL(gone_at, UTC_TIMESTAMP(3))", id=others)
        forget_rocks_names(session, table, [*others, *numbers])
        same = {number: old for old, number, name in rows if name.lower() == old.lower()}
        # two may swap these, too: an owner would else act on another machine than the one of that name
        session.update(table, {}, "name = CONCAT('~', id)", id=[*same])
        for old, number, _ in rows:
            session.update(table, {"rocks_name": new_names[old.lower()], "missing_polls": 0}, id=number)
        for number, old in same.items():
            _show_name(session, table, number, new_names[old.lower()], old)


def _show_name(session: Session, table: str, number: int, name: str, before: str) -> None:
    """Show owners the name, that of before, or a similar one: the first that no other cluster, or node of it, has."""
    cluster_id = number
    if table == "node":
        cluster_id = session.value("SELECT cluster_id FROM node WHERE id = %s", (number,))
    where = "cluster_id = %s AND " * (table == "node")
    taken = {
        str(one).lower()
        for one in session.column(
            f"SELECT name FROM {table} WHERE {where}gone_at IS NULL AND id <> %s",
            ((cluster_id,) if where else ()) + (number,),
        )
    }
    possible = (name, before, *(f"{name}-{n}" for n in range(2, 1000)))
    session.update(table, {"name": next(one for one in possible if one.lower() not in taken)}, id=number)
    bump_generation(session, [cluster_id])
