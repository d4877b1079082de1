"""Rows of `appliances`, `memberships` and `distributions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


class Appliance(NamedTuple):
    """An appliance: its graph, root node file, operating system, and the membership that names it."""

    name: str
    graph: str
    node: str
    os: str
    membership: str
    distribution: str
    is_public: bool


def load_appliances(database: Database, names: Sequence[str]) -> list[Appliance]:
    """The named appliances, in the order of the names, each with its first membership, or ''."""
    rows = database.rows(
        "SELECT a.Name, COALESCE(a.Graph, ''), COALESCE(a.Node, ''), COALESCE(a.OS, 'linux'),"
        " COALESCE(m.Name, ''), COALESCE(d.Name, ''), COALESCE(m.Public, 'no') = 'yes'"
        " FROM appliances a LEFT JOIN memberships m ON m.ID ="
        " (SELECT MIN(o.ID) FROM memberships o WHERE o.Appliance = a.ID)"
        " LEFT JOIN distributions d ON d.ID = m.Distribution WHERE a.Name IN %s",
        [names],
    )
    return [
        Appliance(name, graph, node, system, membership, distribution, bool(is_public))
        for name, graph, node, system, membership, distribution, is_public in in_order(rows, names)
    ]


def list_memberships(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(membership, appliance, distribution, public) of the named memberships, in the order of the names."""
    rows = database.rows(
        "SELECT m.Name, a.Name, d.Name, m.Public FROM memberships m LEFT JOIN appliances a ON a.ID = m.Appliance"
        " LEFT JOIN distributions d ON d.ID = m.Distribution WHERE m.Name IN %s",
        [names],
    )
    return in_order(rows, names)


def find_name(database: Database, table: str, name: str) -> str | None:
    """`name` in the spelling of `table` (appliances, memberships, distributions, nodes, aliases); None when absent."""
    assert table in ("appliances", "memberships", "distributions", "nodes", "aliases")
    rows = database.rows(f"SELECT Name FROM {table} WHERE Name = %s", (name,))
    return str(rows[0][0]) if rows else None


def insert_appliance(database: Database, appliance: Appliance) -> None:
    """Add an appliance, its member in the attributes' scopes, and its membership."""
    database.execute(
        "INSERT INTO appliances (Name, Graph, Node, OS) VALUES (%s, %s, %s, %s)",
        (appliance.name, appliance.graph, appliance.node, appliance.os),
    )
    database.execute(
        "INSERT INTO catindex (Name, Category) SELECT %s, ID FROM categories WHERE Name = 'appliance'"
        " ON DUPLICATE KEY UPDATE Name = VALUES(Name)",
        (appliance.name,),
    )
    database.execute(
        "INSERT INTO memberships (Name, Appliance, Distribution, Public)"
        " SELECT %s, a.ID, d.ID, %s FROM appliances a JOIN distributions d ON d.Name = %s WHERE a.Name = %s",
        (
            appliance.membership,
            "yes" if appliance.is_public else "no",
            appliance.distribution,
            appliance.name,
        ),
    )


def delete_appliances(database: Database, names: Sequence[str]) -> None:
    """Remove the appliances with their memberships, routes, attributes and firewall rules."""
    database.execute("DELETE FROM appliances WHERE Name IN %s", [names])
    database.execute(
        "DELETE i FROM catindex i JOIN categories c ON c.ID = i.Category"
        " WHERE c.Name = 'appliance' AND i.Name IN %s",
        [names],
    )


def first_host_of(database: Database, names: Sequence[str]) -> tuple[str, str] | None:
    """(appliance, host) of one host of the appliances; None when they have no host."""
    rows = database.rows(
        "SELECT a.Name, n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership"
        " JOIN appliances a ON a.ID = m.Appliance WHERE a.Name IN %s ORDER BY n.ID LIMIT 1",
        [names],
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None
