"""Hosts: the rows of `nodes`, and adding and changing hosts. In sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import check_text, is_null, read_number
from rocks.database.sets import in_order
from rocks.inventory.attributes import records as attributes
from rocks.inventory.host_records import find_local_host, lock_inventory
from rocks.inventory.limits import MAX_CPUS, MAX_VM_CPUS
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.new_host_parameters import Membership, NewHost, existing_membership, plan_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.new_host_parameters import HostParameters


_COLUMNS = frozenset(("CPUs", "Rack", "Rank", "Membership", "RunAction", "InstallAction"))
_OF_HOSTS = "Category = (SELECT c.ID FROM categories c WHERE c.Name = 'host')"

DEPENDENT_TABLES = {
    "alias": "aliases",
    "boot": "boot",
    "bootflags": "bootflags",
    "interface": "networks",
    "key": "public_keys",
    "node_rolls": "node_rolls",
    "partition": "partitions",
    "route": "node_routes",
}
"""Kind of dependent rows of a host → their table, which has a column `Node`."""


def appliance_names(database: Database) -> list[str]:
    """Names of all appliances."""
    return [str(row[0]) for row in database.rows("SELECT Name FROM appliances ORDER BY ID")]


def memberships(database: Database) -> list[Membership]:
    """All memberships, in the database's order."""
    rows = database.rows(
        "SELECT m.ID, m.Name, a.Name, a.OS FROM memberships m JOIN appliances a ON a.ID = m.Appliance ORDER BY m.ID"
    )
    return [Membership(int(row[0]), str(row[1]), str(row[2]), str(row[3] or "linux")) for row in rows]


def find_taken_names(database: Database, names: Sequence[str], own: str = "") -> dict[str, tuple[str, str]]:
    """Name in lower case → (`interface`, `alias` or `node`, its host), for the names in use; the last of these counts.

    Names of interfaces of the host `own` are left out.
    """
    rows = database.rows(
        "SELECT i.Name, 'interface', n.Name FROM networks i JOIN nodes n ON n.ID = i.Node"
        " WHERE i.Name IN %s AND n.Name <> %s"
        " UNION ALL SELECT a.Name, 'alias', n.Name FROM aliases a JOIN nodes n ON n.ID = a.Node WHERE a.Name IN %s"
        " UNION ALL SELECT n.Name, 'node', n.Name FROM nodes n WHERE n.Name IN %s",
        [names, own, names, names],
    )
    return {str(name).lower(): (str(kind), str(host)) for name, kind, host in rows}


def names_beginning_with(database: Database, stem: str) -> set[str]:
    """The names of hosts, aliases and interfaces that begin so, in lower case."""
    rows = database.rows(
        "SELECT Name FROM nodes WHERE LEFT(Name, %s) = %s UNION SELECT Name FROM aliases WHERE LEFT(Name, %s) = %s"
        " UNION SELECT Name FROM networks WHERE LEFT(Name, %s) = %s",
        [len(stem), stem] * 3,
    )
    return {str(row[0]).lower() for row in rows}


def taken_ranks(database: Database, appliance: str, rack: int) -> set[int]:
    """The ranks in a rack that physical hosts of the appliance have."""
    rows = database.rows(
        "SELECT n.Rank FROM nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance"
        " LEFT JOIN vm_nodes v ON v.Node = n.ID WHERE v.Node IS NULL AND a.Name = %s AND n.Rack = %s",
        [appliance, rack],
    )
    return {int(row[0]) for row in rows}


def insert_hosts(database: Database, hosts: Sequence[NewHost]) -> None:
    """Add the hosts, each with its attribute `os`; three statements for any number of hosts.

    Attributes that an earlier host of the same name left are removed.
    """
    database.insert_many(
        "INSERT INTO nodes (Name, Membership, CPUs, Rack, Rank, OS, RunAction, InstallAction) VALUES",
        [tuple(host) for host in hosts],
    )
    names = [host.name for host in hosts]
    # a replaced row is removed first, and the attributes and rules of the earlier host with it
    database.execute(
        "REPLACE INTO catindex (Name, Category) SELECT n.Name, c.ID FROM nodes n"
        " JOIN categories c ON c.Name = 'host' WHERE n.Name IN %s",
        [names],
    )
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'os', n.OS, i.Category, i.ID"
        " FROM nodes n JOIN categories c ON c.Name = 'host' JOIN catindex i ON i.Category = c.ID AND i.Name = n.Name"
        " WHERE n.Name IN %s",
        [names],
    )


def set_column(database: Database, names: Sequence[str], column: str, value: object) -> None:
    """Set one column of `nodes` to the same value for the hosts."""
    assert column in _COLUMNS
    database.execute(f"UPDATE nodes SET {column} = %s WHERE Name IN %s", [value, names])


def shared_places(database: Database, names: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """(name, other host, rack, rank) of each named host whose place another host of their appliance has.

    Of named hosts with the same place the first is left out, and so are virtual machines, which have their host's.
    """
    rows = database.rows(
        "SELECT n.Name, MIN(o.Name), n.Rack, n.Rank FROM nodes n JOIN memberships m ON m.ID = n.Membership"
        " JOIN nodes o ON o.Rack = n.Rack AND o.Rank = n.Rank AND o.ID <> n.ID AND (o.ID < n.ID OR o.Name NOT IN %s)"
        " JOIN memberships p ON p.ID = o.Membership AND p.Appliance = m.Appliance"
        " LEFT JOIN vm_nodes v ON v.Node IN (n.ID, o.ID)"
        " WHERE v.Node IS NULL AND n.Name IN %s GROUP BY n.ID ORDER BY n.ID",
        [names, names],
    )
    return [(str(name), str(other), int(rack), int(rank)) for name, other, rack, rank in rows]


def sharing_places(database: Database) -> list[str]:
    """Names of the hosts whose rack and rank another host of their appliance has, virtual machines among them."""
    rows = database.rows(
        "SELECT DISTINCT n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership"
        " JOIN nodes o ON o.Rack = n.Rack AND o.Rank = n.Rank AND o.ID <> n.ID"
        " JOIN memberships p ON p.ID = o.Membership AND p.Appliance = m.Appliance"
    )
    return [str(row[0]) for row in rows]


def rename_host(database: Database, name: str, new_name: str) -> None:
    """Rename a host, its interfaces of the same name, and the member of category `host` of its attributes.

    The attribute that names the frontend is changed too.
    """
    if name.lower() != new_name.lower():
        _remove_members(database, [new_name])
    database.execute("UPDATE nodes SET Name = %s WHERE Name = %s", (new_name, name))
    database.execute(
        "UPDATE networks i JOIN nodes n ON n.ID = i.Node SET i.Name = n.Name WHERE n.Name = %s AND i.Name = %s",
        (new_name, name),
    )
    database.execute(f"UPDATE catindex SET Name = %s WHERE Name = %s AND {_OF_HOSTS}", (new_name, name))
    database.execute(
        "UPDATE attributes t JOIN categories c ON c.ID = t.Category SET t.Value = %s"
        " WHERE c.Name = 'global' AND t.Attr = 'Kickstart_PrivateHostname' AND t.Value = %s",
        (new_name, name),
    )


def remove_dependents(database: Database, names: Sequence[str], kind: str) -> None:
    """Remove the hosts' rows of one kind of `DEPENDENT_TABLES`."""
    _delete_of(database, DEPENDENT_TABLES[kind], names)


def remove_attributes(database: Database, names: Sequence[str]) -> None:
    """Remove the hosts' own attributes, the secret ones too."""
    database.execute(
        "DELETE t FROM attributes t JOIN catindex i ON i.ID = t.Catindex JOIN categories c ON c.ID = i.Category"
        " WHERE c.Name = 'host' AND i.Name IN %s",
        [names],
    )
    _delete_of(database, "sec_node_attributes", names)


def remove_hosts(database: Database, names: Sequence[str]) -> None:
    """Remove the hosts' rows, their members of category `host`, and all rows that refer to them.

    The rows of virtual machines must have been removed before.
    """
    database.execute("DELETE FROM nodes WHERE Name IN %s", [names])
    _remove_members(database, names)


def lock_hosts(database: Database, names: Sequence[str]) -> set[str]:
    """Keep others from changing the hosts until the transaction ends; returns the names of those that there are."""
    return {
        str(row[0]) for row in database.rows("SELECT Name FROM nodes WHERE Name IN %s FOR UPDATE", [names])
    }


def list_host_memberships(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, membership, appliance) of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, m.Name, a.Name FROM nodes n LEFT JOIN memberships m ON m.ID = n.Membership"
        " LEFT JOIN appliances a ON a.ID = m.Appliance WHERE n.Name IN %s",
        [names],
    )
    return in_order(rows, names)


def describe_hosts(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, system, CPUs, rack, rank, membership, run action, install action) of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, n.OS, n.CPUs, n.Rack, n.Rank, m.Name, n.RunAction, n.InstallAction FROM nodes n"
        " LEFT JOIN memberships m ON m.ID = n.Membership WHERE n.Name IN %s",
        [names],
    )
    return in_order(rows, names)


def _delete_of(database: Database, table: str, names: Sequence[str]) -> None:
    database.execute(
        f"DELETE t FROM {table} t JOIN nodes n ON n.ID = t.Node WHERE n.Name IN %s",
        [names],
    )


def _remove_members(database: Database, names: Sequence[str]) -> None:
    database.execute(
        "DELETE FROM catindex WHERE Category = (SELECT c.ID FROM categories c WHERE c.Name = 'host')"
        " AND Name IN %s",
        [names],
    )


def node_ids(database: Database, names: Sequence[str]) -> dict[str, int]:
    """Name in lower case → ID, for the names that are hosts."""
    rows = database.rows("SELECT Name, ID FROM nodes WHERE Name IN %s", [names])
    return {str(name).lower(): int(number) for name, number in rows}


def find_selector(database: Database, text: str) -> tuple[str, str] | None:
    """(what it is, the selector of its hosts) of the name of a host, alias, appliance or membership, else None."""
    rows = database.rows(
        "SELECT 'a host', Name FROM nodes WHERE Name = %s"
        " UNION ALL SELECT 'an alias', Name FROM aliases WHERE Name = %s"
        " UNION ALL SELECT 'an appliance', Name FROM appliances WHERE Name = %s"
        " UNION ALL SELECT 'a membership', a.Name FROM memberships m JOIN appliances a ON a.ID = m.Appliance"
        " WHERE m.Name = %s",
        [text] * 4,
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def hosts_by_appliance(database: Database) -> dict[str, list[str]]:
    """Appliance → its hosts, in the database's order; appliances without a host are left out."""
    found: dict[str, list[str]] = {}
    for appliance, host in database.rows(
        "SELECT a.Name, n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership"
        " JOIN appliances a ON a.ID = m.Appliance ORDER BY a.ID, n.ID"
    ):
        found.setdefault(str(appliance), []).append(str(host))
    return found


# Add and change hosts in the database.


def add_host(database: Database, parameters: HostParameters) -> NewHost:
    """Add the host that the parameters describe. UserError, and no change, for an invalid parameter."""
    host = plan_host(parameters, appliance_names(database), memberships(database))
    lock_inventory(database)
    check_name_unused(database, host.name)
    insert_hosts(database, [host])
    return host


def shared_place_lines(database: Database, names: Sequence[str]) -> list[str]:
    """A line for each of the physical hosts that has the rack and the rank of another one of its appliance."""
    return [
        f"host {name} has the rack {rack} and the rank {rank} of host {other} of the same appliance; to change it: "
        f"rocks set host rank {name} RANK"
        for name, other, rack, rank in shared_places(database, names)
    ]


def check_name_unused(database: Database, name: str, own: str = "") -> None:
    """UserError when a host, an alias or an interface of a host other than `own` has the name."""
    taken = find_taken_names(database, [name], own).get(name.lower())
    if taken is None:
        return
    kind, owner = taken
    if kind == "node":
        raise UserError(
            f"Node {printable(name)} already exists. Choose another name, or see rocks list host {owner}."
        )
    what = "an alias" if kind == "alias" else "the name of an interface"
    raise UserError(f"Node {printable(name)} already exists: it is {what} of {owner}. Choose another name.")


def check_interface_name_unused(database: Database, name: str, host: str) -> None:
    """UserError when the name, which an interface of the host is to get, is another host's, or its alias."""
    kind, owner = find_taken_names(database, [name], host).get(name.lower(), ("interface", host))
    if kind != "interface" and owner.lower() != host.lower():
        what = "an alias of" if kind == "alias" else "the name of"
        raise UserError(
            f'interface name "{printable(name)}" is {what} the host {owner}, which would get the address of {host}. '
            "Choose another name."
        )


def set_cpus(database: Database, names: Sequence[str], cpus: str) -> None:
    """Set the number of CPUs, from 1 to MAX_CPUS, or MAX_VM_CPUS where one of the hosts is a virtual machine."""
    number = read_number("cpus", cpus, 1, MAX_CPUS)
    if number > MAX_VM_CPUS and (virtual := which_are_vms(database, names)):
        raise UserError(
            f"{virtual[0]} is a virtual machine, which has at most {MAX_VM_CPUS} CPUs, not {number}"
        )
    set_column(database, names, "CPUs", number)


def set_rack(database: Database, names: Sequence[str], rack: str) -> list[str]:
    """Set the number of the rack; returns lines as `shared_place_lines`."""
    number = read_number("rack", rack, 0)
    lock_inventory(database)
    set_column(database, names, "Rack", number)
    return shared_place_lines(database, names)


def set_rank(database: Database, names: Sequence[str], rank: str) -> list[str]:
    """Set the place in the rack; returns lines as `shared_place_lines`."""
    number = read_number("rank", rank, 0)
    lock_inventory(database)
    set_column(database, names, "Rank", number)
    return shared_place_lines(database, names)


def set_membership(database: Database, names: Sequence[str], membership: str) -> list[str]:
    """Set the membership of the hosts; returns lines as `shared_place_lines`.

    StateError, and no change, when this machine would no longer be a frontend.
    """
    found = existing_membership(membership, memberships(database))
    local = find_local_host(database)
    if local in names and found.appliance != "frontend":
        raise StateError(f"host {local} is the frontend of the site, and stays one: name the other hosts")
    lock_inventory(database)
    set_column(database, names, "Membership", found.id)
    return shared_place_lines(database, names)


COMMENT_ATTRIBUTE = "comment"
_COMMENT_LONGEST = 1024


def set_comment(database: Database, names: Sequence[str], comment: str) -> None:
    """Set the comment of the hosts, which is an attribute of theirs; NULL removes it."""
    if is_null(comment):
        attributes.delete_attributes(database, "host", names, [COMMENT_ATTRIBUTE])
        return
    check_text("comment", comment, _COMMENT_LONGEST)
    attributes.replace_attribute(database, "host", names, COMMENT_ATTRIBUTE, comment)
