"""Rows of `appliances`, `memberships` and `distributions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import check_appliance_name, check_membership_name, check_plain_name, printable
from rocks.database.sets import in_order
from rocks.inventory.attributes import records as attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


# Add and remove appliances, with their memberships and first attributes.


_FILE_LONGEST = 64
_BOOT_PROGRAM = "pxelinux.0"


def add_appliance(database: Database, appliance: Appliance) -> None:
    """Add the appliance; UserError unless it is valid and its name and membership are unused.

    An appliance with a root node file gets the attributes that its hosts need for network installation.
    """
    _check_texts(appliance)
    _check_unused(database, appliance)
    insert_appliance(database, appliance)
    for name, value in _first_attributes(database, appliance).items():
        attributes.insert_attribute(database, "appliance", [appliance.name], name, value)


def _check_texts(appliance: Appliance) -> None:
    check_appliance_name(appliance.name)
    check_membership_name(appliance.membership)
    for what, text in (("node", appliance.node), ("graph", appliance.graph)):
        if text:
            check_plain_name(what, text, _FILE_LONGEST)


def _check_unused(database: Database, appliance: Appliance) -> None:
    if find_name(database, "memberships", appliance.membership):
        raise UserError(f'membership "{appliance.membership}" already exists; give another with membership=')
    if find_name(database, "appliances", appliance.name):
        raise UserError(f'appliance "{appliance.name}" already exists; rocks list appliance shows it')
    if find_name(database, "nodes", appliance.name):
        raise UserError(
            f'appliance "{appliance.name}" cannot be added: a host has that name and could not be selected any more'
        )
    if find_name(database, "aliases", appliance.name):
        raise UserError(
            f'appliance "{appliance.name}" cannot be added: a host has that alias, and could not be selected by it any '
            "more; rocks list host alias shows it"
        )
    if not find_name(database, "distributions", appliance.distribution):
        raise UserError(
            f'unknown distribution "{printable(appliance.distribution)}"; rocks list distribution shows all'
        )


def _first_attributes(database: Database, appliance: Appliance) -> dict[str, str]:
    if not appliance.node:
        return {"kickstartable": "no"}
    found = {"kickstartable": "yes", "dhcp_filename": _BOOT_PROGRAM}
    if server := attributes.global_attributes(database).get("Kickstart_PrivateKickstartHost"):
        found["dhcp_nextserver"] = server
    return found


def remove_appliance(database: Database, names: Sequence[str], before_each: Callable[[str], None]) -> None:
    """Remove the appliances with their memberships, routes and attributes.

    UserError, and no change, when a host is of one of them. `before_each` gets each name before anything is
    removed.
    """
    used = first_host_of(database, names)
    if used is not None:
        raise UserError(
            f'cannot remove appliance "{used[0]}": host {used[1]} is one; '
            "remove its hosts or give them another membership first"
        )
    for name in names:
        before_each(name)
    delete_appliances(database, names)
