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
            f"SELECT rocks_name, id, name FROM {table}"
            f" WHERE rocks_name IN ({placeholders(names)}) AND gone_at IS NULL",
            [*names],
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
        _show_names(session, table, {number: (new_names[old.lower()], old) for number, old in same.items()})


def _show_names(session: Session, table: str, names: Mapping[int, tuple[str, str]]) -> None:
    """Show owners the new names; number of the row → its new and its former name.

    Where another cluster, or node of the cluster, has the new one, it is the former, or a similar one.
    """
    of_cluster = "cluster_id" if table == "node" else "0"
    rows = session.rows(f"SELECT id, {of_cluster}, name FROM {table} WHERE gone_at IS NULL")
    places = {number: cluster_id for number, cluster_id, _ in rows if number in names}
    taken: dict[int, set[str]] = {place: set() for place in places.values()}
    for number, place, name in rows:
        if place in taken and number not in names:
            taken[place].add(name.lower())
    for number, place in places.items():
        new, former = names[number]
        possible = (new, former, *(f"{new}-{n}" for n in range(2, 1000)))
        name = next(one for one in possible if one.lower() not in taken[place])
        taken[place].add(name.lower())
        session.update(table, {"name": name}, id=number)
    bump_generation(session, {*places.values()} if table == "node" else {*places})
