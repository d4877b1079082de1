"""Attributes of the four scopes: reading, resolution for hosts, writing; always in sets.

A scope is a key of `SOURCE_LETTERS`; its members are `global`, `linux` and `sunos`, appliances, or hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.version import rocks_version_attributes
from rocks.database.sets import among, in_order
from rocks.inventory.attributes.rules import (
    OLD_SUFFIX,
    Member,
    Resolved,
    Stored,
    known_spelling,
    resolve,
    resolving,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.database.connection import Database


_STORED = (
    "SELECT c.Name, i.Name, r.Precedence, t.Attr, t.Value FROM attributes t"
    " JOIN catindex i ON i.ID = t.Catindex JOIN categories c ON c.ID = i.Category"
    " JOIN resolvechain r ON r.Category = c.ID AND r.Name = 'default'"
)
_OF_SCOPE = "FROM attributes t JOIN catindex i ON i.ID = t.Catindex JOIN categories c ON c.ID = i.Category"
_MEMBER_TABLES = {"appliance": "appliances", "host": "nodes"}
"""Scope → the table of its members. A member gets its row of `catindex` with its first attribute."""


def resolve_attributes(
    database: Database, names: Sequence[str] | None, attribute: str | None = None
) -> dict[str, dict[str, Resolved]]:
    """Host → attribute → value and source, for the named hosts, in their order, or for all (None).

    Two statements for any number of hosts. With `attribute`, only that one is read; intrinsic and forced
    attributes are always included. Unknown names are omitted.
    """
    if names is not None and not names:
        return {}
    return resolve(_members(database, names), _stored(database, names, attribute), rocks_version_attributes())


def resolving_attributes(
    database: Database, names: Sequence[str]
) -> Callable[[], Iterator[tuple[str, dict[str, Resolved]]]]:
    """As `resolve_attributes`, of one host after the other, at each call anew: those of all hosts are a million."""
    if not names:
        return lambda: iter(())
    return resolving(_members(database, names), _stored(database, names, None), rocks_version_attributes())


def resolve_members(
    database: Database, members: Sequence[Member], are_all: bool = False
) -> dict[str, dict[str, Resolved]]:
    """As `resolve_attributes`, for hosts whose rows the caller has read, or for all of them; one statement."""
    if not members:
        return {}
    stored = _stored(database, None if are_all else [member.hostname for member in members], None)
    return resolve(members, stored, rocks_version_attributes())


def resolve_attribute(database: Database, attribute: str, names: Sequence[str] | None) -> dict[str, str]:
    """Host → value of one attribute, for the named hosts or for all; hosts without it are omitted."""
    values = {}
    for host, found in resolve_attributes(database, names, attribute).items():
        for name, resolved in found.items():
            if name.lower() == attribute.lower():
                values[host] = resolved.value
    return values


def global_attributes(database: Database) -> dict[str, str]:
    """Name → value of the global attributes; known attributes have the spelling that the system uses."""
    return {known_spelling(name): value for _, name, value in read_attributes(database, "global")}


def attributes_of_new(database: Database, member: Member) -> tuple[dict[str, str], dict[str, Resolved]]:
    """The global attributes, and those of a host that is about to be added; one statement.

    The host's name may be '' while it is not chosen. Attributes that an earlier host of its name left are ignored.
    """
    stored = _stored(database, [], None)
    site = {known_spelling(one.name): one.value for one in stored if one.scope == "global"}
    return site, resolve([member], stored, rocks_version_attributes())[member.hostname]


def read_attributes(
    database: Database, scope: str, members: Sequence[str] | None = None
) -> list[tuple[str, str, str]]:
    """(member, attribute, value) as stored, by member in their order, then by name; None: all members."""
    condition, values = _of_members(scope, members)
    rows = database.rows(f"SELECT i.Name, t.Attr, COALESCE(t.Value, '') {_OF_SCOPE} {condition}", values)
    if members is None:
        members = list(dict.fromkeys(str(row[0]) for row in rows))
    return [
        (str(member), str(name), str(value))
        for member, name, value in in_order(sorted(rows, key=lambda row: str(row[1])), members)
    ]


def members_with(database: Database, scope: str, members: Sequence[str], attribute: str) -> list[str]:
    """The members that have the attribute."""
    condition, values = _of_members(scope, members)
    rows = database.rows(f"SELECT i.Name {_OF_SCOPE} {condition} AND t.Attr = %s", [*values, attribute])
    return [str(row[0]) for row in rows]


def is_stored(database: Database, attribute: str) -> bool:
    """Whether any member of any scope has the attribute."""
    return bool(database.rows("SELECT 1 FROM attributes WHERE Attr = %s LIMIT 1", [attribute]))


def stored_names(database: Database) -> list[str]:
    """The names of the attributes that any member of any scope has, sorted."""
    return [str(row[0]) for row in database.rows("SELECT DISTINCT Attr FROM attributes ORDER BY Attr")]


def members_with_values(database: Database, attribute: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """(member, value) of every scope whose attribute has one of these values, by name; a global one as `global`."""
    rows = database.rows(
        f"SELECT DISTINCT i.Name, t.Value {_OF_SCOPE} WHERE t.Attr = %s AND t.Value IN %s ORDER BY i.Name",
        [attribute, values],
    )
    return [(str(name), str(value)) for name, value in rows]


def insert_attribute(
    database: Database, scope: str, members: Sequence[str], attribute: str, value: str
) -> None:
    """Add an attribute to the members; none of them has it."""
    _write(database, scope, members, attribute, value, "")


def replace_attribute(
    database: Database, scope: str, members: Sequence[str], attribute: str, value: str
) -> None:
    """Set an attribute of the members, whether they have it or not."""
    _write(database, scope, members, attribute, value, " ON DUPLICATE KEY UPDATE Value = %s")


def insert_host_values(database: Database, values: Sequence[tuple[str, str, str]]) -> None:
    """Add (host, attribute, value) of hosts that do not have the attributes, by three statements."""
    hosts = list(dict.fromkeys(host for host, _, _ in values))
    ensure_members(database, "host", hosts)
    rows = database.rows(
        "SELECT i.Name, i.Category, i.ID FROM catindex i JOIN categories c ON c.ID = i.Category"
        " WHERE c.Name = 'host' AND i.Name IN %s",
        [hosts],
    )
    places = {str(name).lower(): (category, number) for name, category, number in rows}
    database.insert_many(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) VALUES",
        [(attribute, value, *places[host.lower()]) for host, attribute, value in values],
    )


def preserve_old_values(database: Database, scope: str, members: Sequence[str], attribute: str) -> None:
    """Copy the attribute's value, where a member has one, to the attribute with `OLD_SUFFIX`."""
    condition, values = _of_members(scope, members)
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex)"
        f" SELECT CONCAT(t.Attr, %s), t.Value, t.Category, t.Catindex {_OF_SCOPE} {condition} AND t.Attr = %s"
        " ON DUPLICATE KEY UPDATE Value = t.Value",
        [OLD_SUFFIX, *values, attribute],
    )


def lock_members(database: Database, scope: str, members: Sequence[str]) -> int:
    """Keep other commands from changing attributes of these members until the transaction ends: they would deadlock.

    Returns how many have a row of `catindex`. All commands lock in the order of the names, which is that of the index.
    """
    return len(
        database.rows(
            "SELECT ID FROM catindex FORCE INDEX (Name)"
            " WHERE Category = (SELECT ID FROM categories WHERE Name = %s) AND Name IN %s FOR UPDATE",
            [scope, members],
        )
    )


def delete_attributes(
    database: Database, scope: str, members: Sequence[str], attributes: Iterable[str]
) -> int:
    """Remove the attributes from the members that have them; returns how many were removed."""
    lock_members(database, scope, members)
    condition, values = _of_members(scope, members)
    return database.execute(f"DELETE t {_OF_SCOPE} {condition} AND t.Attr IN %s", [*values, list(attributes)])


def delete_old_values(database: Database) -> None:
    """Remove all attributes whose name ends with `OLD_SUFFIX`, in every scope."""
    database.execute("DELETE FROM attributes WHERE RIGHT(Attr, %s) = %s", (len(OLD_SUFFIX), OLD_SUFFIX))


def _write(
    database: Database, scope: str, members: Sequence[str], attribute: str, value: str, if_present: str
) -> None:
    ensure_members(database, scope, members)
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT %s, %s, i.Category, i.ID"
        " FROM catindex i JOIN categories c ON c.ID = i.Category"
        f" WHERE c.Name = %s AND i.Name IN %s{if_present}",
        [attribute, value, scope, members, *([value] if if_present else [])],
    )


def ensure_members(database: Database, scope: str, members: Sequence[str]) -> None:
    """As `lock_members`; they get the rows of `catindex` that they lack, with their first attribute or rule."""
    if lock_members(database, scope, members) == len(set(members)) or scope not in _MEMBER_TABLES:
        return
    # IGNORE would share a row that another command has just added, and two that share it deadlock when both lock it
    database.execute(
        f"INSERT INTO catindex (Name, Category) SELECT m.Name, c.ID FROM {_MEMBER_TABLES[scope]} m"
        " JOIN categories c ON c.Name = %s LEFT JOIN catindex i ON i.Name = m.Name AND i.Category = c.ID"
        " WHERE i.ID IS NULL AND m.Name IN %s ORDER BY m.Name ON DUPLICATE KEY UPDATE Name = m.Name",
        [scope, members],
    )


def _of_members(scope: str, members: Sequence[str] | None) -> tuple[str, list[object]]:
    if members is None:
        return "WHERE c.Name = %s", [scope]
    return "WHERE c.Name = %s AND i.Name IN %s", [scope, members]


def _members(database: Database, names: Sequence[str] | None) -> list[Member]:
    condition, values = among("n.Name", names)
    rows = database.rows(
        "SELECT n.Name, n.OS, a.Name, m.Name, n.Rack, n.Rank, n.Arch FROM nodes n"
        " LEFT JOIN memberships m ON m.ID = n.Membership LEFT JOIN appliances a ON a.ID = m.Appliance"
        f"{condition} ORDER BY n.ID",
        values,
    )
    if names is not None:
        rows = in_order(rows, names)
    return [Member(*("" if cell is None else str(cell) for cell in row)) for row in rows]


def _stored(database: Database, names: Sequence[str] | None, attribute: str | None) -> list[Stored]:
    conditions: list[str] = []
    values: list[object] = []
    if names is not None:
        conditions.append("(c.Name <> 'host' OR i.Name IN %s)" if names else "c.Name <> 'host'")
        values += [names] if names else []
    if attribute is not None:
        conditions.append("t.Attr = %s")
        values.append(attribute)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return [
        Stored(str(scope), str(member), int(precedence), str(name), value or "")
        for scope, member, precedence, name, value in database.rows(_STORED + where, values)
    ]
