"""Secret attributes: tables that only root reads; of hosts, and global ones that hold for hosts without their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import in_order
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.attributes.rules import SOURCE_LETTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

Row = tuple[str, str, str, str]
"""Host (empty for a global one), attribute, value, name of its encoding."""

_GLOBAL = SOURCE_LETTERS["global"]


def read_global(database: Database) -> list[Row]:
    """The global secret attributes, by name."""
    rows = database.rows("SELECT '', Attr, Value, Enc FROM sec_global_attributes ORDER BY Attr")
    return [_row(row) for row in rows]


def read_of_hosts(database: Database, hosts: Sequence[str]) -> list[Row]:
    """The secret attributes of these hosts, in their order, then by name."""
    rows = database.rows(
        "SELECT n.Name, s.Attr, s.Value, s.Enc FROM sec_node_attributes s JOIN nodes n ON n.ID = s.Node"
        " WHERE n.Name IN %s ORDER BY s.Attr",
        [hosts],
    )
    return [_row(row) for row in in_order(rows, hosts)]


def resolve_secret(database: Database, attribute: str, hosts: Sequence[str]) -> dict[str, str]:
    """Host → value of the attribute in the narrowest scope that has one; hosts without any are left out.

    Scopes without a table of secrets are among the other attributes. Of one scope the secret wins.
    """
    common = [value for _, name, value, _ in read_global(database) if name.lower() == attribute.lower()]
    found = dict.fromkeys(hosts, common[0]) if common else {}
    spelled = {host.lower(): host for host in hosts}
    for host, attributes in resolve_attributes(database, hosts, attribute).items():
        for name, resolved in attributes.items():
            if name.lower() == attribute.lower() and not (common and resolved.source == _GLOBAL):
                found[spelled[host.lower()]] = resolved.value
    own = read_of_hosts(database, hosts)
    found.update(
        {spelled[h.lower()]: value for h, name, value, _ in own if name.lower() == attribute.lower()}
    )
    return found


def store(database: Database, hosts: Sequence[str] | None, attribute: str, value: str) -> None:
    """Set the attribute of the hosts, or the global one (None), whether there is one or not."""
    if hosts is None:
        database.execute(
            "REPLACE INTO sec_global_attributes (Attr, Value) VALUES (%s, %s)", [attribute, value]
        )
    else:
        database.execute(
            "REPLACE INTO sec_node_attributes (Node, Attr, Value) SELECT ID, %s, %s FROM nodes"
            " WHERE Name IN %s",
            [attribute, value, hosts],
        )


def add(database: Database, host: str, attribute: str, value: str) -> None:
    """Set the attribute of the host, unless it has one."""
    database.execute(
        "INSERT IGNORE INTO sec_node_attributes (Node, Attr, Value) SELECT ID, %s, %s FROM nodes WHERE Name = %s",
        [attribute, value, host],
    )


def delete(database: Database, hosts: Sequence[str] | None, attribute: str) -> int:
    """Remove the attribute of the hosts, or the global one (None); returns how many there were."""
    if hosts is None:
        return database.execute("DELETE FROM sec_global_attributes WHERE Attr = %s", [attribute])
    return database.execute(
        "DELETE s FROM sec_node_attributes s JOIN nodes n ON n.ID = s.Node WHERE s.Attr = %s AND n.Name IN %s",
        [attribute, hosts],
    )


def _row(row: Sequence[object]) -> Row:
    host, attribute, value, encoding = row
    return str(host), str(attribute), str(value or ""), str(encoding or "")
