"""Rows of `public_keys`: the keys whose owners may control the virtual cluster of a frontend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


class HostKey(NamedTuple):
    """A public key of a host, in PEM."""

    host: str
    id: int
    key: str
    description: str | None


def list_keys(database: Database, names: Sequence[str]) -> list[HostKey]:
    """The keys of the named hosts, in their order, then by ID."""
    rows = database.rows(
        "SELECT n.Name, k.ID, COALESCE(k.Public_Key, ''), k.Description FROM public_keys k"
        " JOIN nodes n ON n.ID = k.Node WHERE n.Name IN %s ORDER BY k.ID",
        [names],
    )
    return [HostKey(*row) for row in in_order(rows, names)]


def insert_key(database: Database, host: str, key: str, description: str | None) -> None:
    """Add a key to a host."""
    database.execute(
        "INSERT INTO public_keys (Node, Public_Key, Description) SELECT ID, %s, %s FROM nodes WHERE Name = %s",
        (key, description, host),
    )


def delete_key(database: Database, host: str, number: int) -> int:
    """Remove the key of that ID from a host; returns how many were removed, 0 or 1."""
    return database.execute(
        "DELETE k FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = %s AND k.ID = %s",
        (host, number),
    )
