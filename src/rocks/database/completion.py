"""Names of objects that begin with a text, for a person who completes a command line: one light statement each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.database.connection import Database

MOST_NAMES = 300

_HOSTS_OF_APPLIANCE = (
    "nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance AND a.Name = "
)
_SOURCES = {
    "appliance": ("x.Name", "appliances x"),
    "attr": ("x.Attr", "attributes x"),
    "bootaction": ("x.Action", "bootaction x"),
    "distribution": ("x.Name", "distributions x"),
    "frontend": ("n.Name", f"{_HOSTS_OF_APPLIANCE}'frontend'"),
    "host": ("x.Name", "nodes x"),
    "iface": ("x.Device", "networks x"),
    "membership": ("x.Name", "memberships x"),
    "nas": ("n.Name", f"{_HOSTS_OF_APPLIANCE}'nas'"),
    "network": ("x.name", "subnets x"),
    "roll": ("x.Name", "rolls x"),
}
"""Kind → the column and the table that have its names."""

KINDS = frozenset(_SOURCES)


def names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
    """Names of objects of a kind, sorted; at most `MOST_NAMES` and the last one.

    With the last one, all of them begin with the text with which all names in the database begin.
    """
    column, table = _SOURCES[kind]
    pattern = beginning.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    where = f"FROM {table} WHERE {column} LIKE %s"
    rows = database.rows(f"SELECT DISTINCT {column} {where} ORDER BY 1 LIMIT {MOST_NAMES}", (pattern,))
    if len(rows) == MOST_NAMES:
        rows += database.rows(f"SELECT MAX({column}) {where}", (pattern,))
    return list(dict.fromkeys(str(row[0]) for row in rows))
