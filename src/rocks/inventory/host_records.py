"""Selectors of hosts to names, the aliases of hosts, and the lock of names, places and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.callers import check_full_rights
from rocks.core.errors import Code, UserError
from rocks.core.names import printable
from rocks.core.values import TRUE_VALUES
from rocks.database.sets import in_order
from rocks.inventory.selectors import is_uuid, read_selectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.selectors import Selectors


DNS_SECONDS = 2.0
"""Timeout of the resolver for a selector that the database does not know."""

_APPLIANCE_OF_NODE = "memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance"

_INTERFACES = "nodes n JOIN networks i ON i.Node = n.ID"

# One branch for each meaning of a selector, in the order of precedence: the name of a node comes before an alias of
# another node, and so on. An appliance cannot be confused with a node: no node may have the name of an appliance.
_BY_NAME = (
    f"SELECT 0, a.Name, n.Name FROM nodes n JOIN {_APPLIANCE_OF_NODE} WHERE a.Name IN %s",
    "SELECT 1, n.Name, n.Name FROM nodes n WHERE n.Name IN %s",
    "SELECT 2, l.Name, n.Name FROM nodes n JOIN aliases l ON l.Node = n.ID WHERE l.Name IN %s",
    f"SELECT 5, i.Name, n.Name FROM {_INTERFACES} WHERE i.Name IN %s",
)
_BY_MAC = f"SELECT 3, %s, n.Name FROM {_INTERFACES} WHERE i.MAC IN %s"
_BY_UUID = "SELECT 3, v.UUID, n.Name FROM nodes n JOIN vm_nodes v ON v.Node = n.ID WHERE v.UUID IN %s"
_BY_IP = f"SELECT 4, i.IP, n.Name FROM {_INTERFACES} WHERE i.IP IN %s"
# The part before the first dot finds the rows by a key; the whole selectors then choose among them.
_BY_DOMAIN = tuple(
    f"SELECT 6, CONCAT({name}, '.', s.dnszone), n.Name FROM {_INTERFACES} JOIN subnets s ON s.ID = i.Subnet"
    f" WHERE {name} IN %s AND CONCAT({name}, '.', s.dnszone) IN %s"
    for name in ("n.Name", "i.Name")
)
_RACKS = (
    "SELECT 0, CONCAT('rack', n.Rack), n.Name FROM nodes n JOIN "
    f"{_APPLIANCE_OF_NODE} WHERE n.Rack IN %s AND a.Name <> 'frontend'"
)
_PATTERN = "SELECT 0, %s, n.Name FROM nodes n WHERE n.Name LIKE %s"


class Proposals(NamedTuple):
    """Which names an error proposes for an unknown one: of hosts with a true attribute, without those of appliances."""

    attribute: str = ""
    is_one_host: bool = False


_ALL_NAMES = Proposals()


def expand_selectors(
    database: Database,
    texts: Sequence[str],
    managed_only: bool = False,
    each_matches: bool = False,
    proposals: Proposals = _ALL_NAMES,
) -> list[str]:
    """Names of the hosts that the selectors mean: their union, each once, sorted by name.

    Without selectors: all hosts in the database's order, or the managed hosts only. All selectors take one statement;
    each `select …` text takes one more, run read-only. The resolver looks up selectors unknown to the database last,
    within `DNS_SECONDS`. UserError for a selector that means no host; a pattern, a rack, an appliance or a statement
    may have no hosts, unless `each_matches`.
    """
    if not texts:
        return _all_hosts(database, managed_only)
    selectors = read_selectors(texts)
    found = _look_up(database, selectors)
    names = {name for hosts in found.values() for name in hosts}
    unknown = [text for text in selectors.names if text.lower() not in found]
    if unknown:
        names |= _resolve(database, unknown, proposals)
    if selectors.local:
        names.add(local_host(database))
    empty = _without_hosts(selectors, found) if each_matches else []
    for statement in selectors.statements:
        chosen = _select(database, statement)
        names |= chosen
        empty += [statement] if each_matches and not chosen else []
    if empty:
        raise UserError(f'"{printable(empty[0])}" matches no host; {_advice(database, empty[0], proposals)}')
    return sorted(names)


def _without_hosts(selectors: Selectors, found: Mapping[str, set[str]]) -> list[str]:
    """The appliances, patterns and racks without a host."""
    return [
        *(text for text in selectors.names if text.lower() in found and not found[text.lower()]),
        *(text for text in selectors.patterns if text.replace("%", "\0").lower() not in found),
        *(f"rack{number}" for number in selectors.racks if f"rack{number}" not in found),
    ]


def _advice(database: Database, text: str, proposals: Proposals) -> str:
    """Hosts, and appliances with hosts, that a selector without a match may mean, and the command that lists all."""
    if text.split()[:1] == ["select"]:
        return "see rocks list host"
    if "*" in text or "?" in text:
        pattern = text.replace("*", "%").replace("?", "_")
        return f"a pattern has % for any text and _ for a character: {printable(pattern)}"
    from rocks.core.near_names import did_you_mean

    meant = did_you_mean(text.replace("%", ""), _proposed(database, text, proposals))
    return f"{meant}rocks list host shows all" if meant else "see rocks list host"


def _proposed(database: Database, text: str, proposals: Proposals) -> list[str]:
    rows = database.rows(
        "SELECT n.Name, a.Name FROM nodes n LEFT JOIN"
        " (memberships m JOIN appliances a ON a.ID = m.Appliance) ON m.ID = n.Membership"
    )
    if proposals.attribute:
        from rocks.inventory.attributes.records import resolve_attribute

        values = resolve_attribute(database, proposals.attribute, None)
        rows = [row for row in rows if values.get(str(row[0]), "").lower() in TRUE_VALUES]
    names = {str(row[0]) for row in rows}
    # who types a number means one host: all of an appliance would be too many
    if not proposals.is_one_host and not any(one.isdigit() for one in text):
        names |= {str(row[1]) for row in rows if row[1] is not None}
    return sorted(name for name in names if name.lower() != text.lower())


def local_host(database: Database) -> str:
    """Name of this machine's node: by its host name, else the frontend. UserError when neither exists."""
    name = find_local_host(database)
    if name is None:
        raise UserError(
            'cannot resolve host "localhost": this machine is not in the cluster database; '
            "add it with rocks add host, or set the attribute Kickstart_PrivateHostname to the frontend's name"
        )
    return name


def find_local_host(database: Database) -> str | None:
    """As `local_host`, but None when this machine is not in the database.

    The program runs on the frontend. So the node that Kickstart_PrivateHostname names is this machine when the
    kernel's host name is not a node.
    """
    import socket

    own = socket.gethostname()
    rows = database.rows(
        "SELECT n.Name, n.Name IN (%s, %s) FROM nodes n WHERE n.Name IN (%s, %s, (SELECT t.Value FROM"
        " attributes t JOIN categories c ON c.ID = t.Category"
        " WHERE c.Name = 'global' AND t.Attr = 'Kickstart_PrivateHostname')) ORDER BY 2 DESC LIMIT 1",
        (own, own.partition(".")[0]) * 2,
    )
    return str(rows[0][0]) if rows else None


def names_like(database: Database, table: str, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of `table` (a table of this schema with a column Name) that match, and the patterns without a match.

    Without patterns: all names. Order: the database's.
    """
    assert table in ("appliances", "memberships", "distributions", "subnets", "rolls")
    if not patterns:
        rows = database.rows(f"SELECT Name FROM {table} ORDER BY ID")
        return list(dict.fromkeys(str(row[0]) for row in rows)), []
    branch = f"SELECT %s, ID, Name FROM {table} WHERE Name LIKE %s"
    rows = database.rows(
        " UNION ALL ".join([branch] * len(patterns)) + " ORDER BY 2", [p for p in patterns for _ in range(2)]
    )
    matched = {str(row[0]) for row in rows}
    return list(dict.fromkeys(str(row[2]) for row in rows)), [p for p in patterns if p not in matched]


def list_hosts(database: Database, names: Sequence[str] | None) -> list[tuple[object, ...]]:
    """(name, membership, cpus, rack, rank, run action, install action) of the named hosts, or of all.

    Order: the database's, or that of `names`.
    """
    statement = (
        "SELECT n.Name, m.Name, n.CPUs, n.Rack, n.Rank, n.RunAction, n.InstallAction"
        " FROM nodes n LEFT JOIN memberships m ON m.ID = n.Membership"
    )
    if names is None:
        return database.rows(statement + " ORDER BY n.ID")
    return in_order(database.rows(f"{statement} WHERE n.Name IN %s", [names]), names)


def _all_hosts(database: Database, managed_only: bool) -> list[str]:
    names = [str(row[0]) for row in database.rows("SELECT Name FROM nodes ORDER BY ID")]
    if not managed_only:
        return names
    from rocks.inventory.attributes.records import resolve_attribute

    managed = resolve_attribute(database, "managed", None)
    return [name for name in names if managed.get(name) == "true"]


def _look_up(database: Database, selectors: Selectors) -> dict[str, set[str]]:
    branches = list(_branches(selectors))
    if not branches:
        return {}
    statement = " UNION ALL ".join(branch for branch, _ in branches)
    strongest: dict[str, tuple[int, set[str]]] = {}
    for strength, text, name in database.rows(
        statement, [value for _, values in branches for value in values]
    ):
        known = strongest.get(str(text).lower())
        if known is None or strength < known[0]:
            strongest[str(text).lower()] = (strength, {str(name)})
        elif strength == known[0]:
            known[1].add(str(name))
    found = {text: names for text, (_, names) in strongest.items()}
    others = [text for text in selectors.names if text.lower() not in found]
    for (name,) in database.rows("SELECT Name FROM appliances WHERE Name IN %s", [others]):
        found[str(name).lower()] = set()
    return found


def _branches(selectors: Selectors) -> Iterator[tuple[str, Sequence[object]]]:
    """The parts of the one statement that finds the hosts of the selectors, each with its values."""
    names = selectors.names
    if names:
        for lookup in _BY_NAME:
            yield lookup, [names]
    for name in names:
        if ":" in name:  # a MAC address, perhaps without leading zeros
            yield _BY_MAC, [name, (name, ":".join(octet.zfill(2) for octet in name.split(":")))]
    if uuids := [name for name in names if is_uuid(name)]:
        yield _BY_UUID, [uuids]
    if with_dots := [name for name in names if "." in name]:
        yield _BY_IP, [with_dots]
        for lookup in _BY_DOMAIN:
            yield lookup, [[name.partition(".")[0] for name in with_dots], with_dots]
    if selectors.racks:
        yield _RACKS, [selectors.racks]
    for pattern in selectors.patterns:
        yield _PATTERN, (pattern.replace("%", "\0"), pattern)


def _select(database: Database, statement: str) -> set[str]:
    """The hosts that a statement names. Behind sudo it would be read with root's rights, secrets included."""
    check_full_rights("a selector of SQL")
    with database.read_only():
        names = {str(row[0]) for row in database.rows(statement) if row[0] is not None}
    rows = database.rows("SELECT Name FROM nodes WHERE Name IN %s", [list(names)])
    known = {str(row[0]) for row in rows}
    in_lower_case = {name.lower() for name in known}
    strangers = [name for name in names if name.lower() not in in_lower_case]
    if strangers:
        raise UserError(
            f'host "{printable(min(strangers))}" is not in cluster: the first column of '
            f'"{printable(statement)}" must contain host names'
        )
    return known


def _resolve(database: Database, texts: Sequence[str], proposals: Proposals) -> set[str]:
    import socket

    own = socket.gethostname().lower()
    names: set[str] = set()
    for text in texts:
        if text.lower() in (own, own.partition(".")[0]):
            names.add(local_host(database))
            continue
        if is_uuid(text):
            raise UserError(
                f"no virtual machine has the UUID {text}; see rocks list host vm json=yes",
                code=Code.MACHINE_UNKNOWN,
            )
        rows = database.rows(
            "SELECT n.Name FROM nodes n JOIN networks i ON i.Node = n.ID WHERE i.IP IN %s",
            [addresses_of_name(text)],
        )
        if not rows:
            raise UserError(
                f'cannot resolve host "{printable(text)}": it is not a host, alias, address, appliance or other '
                f"selector; {_advice(database, text, proposals)}"
            )
        names |= {str(row[0]) for row in rows}
    return names


def addresses_of_name(text: str) -> list[str]:
    """IPv4 addresses of a DNS name; none when the resolver does not reply within `DNS_SECONDS`."""
    import socket
    import threading

    found: list[str] = []

    def ask() -> None:
        try:
            found.extend(str(row[4][0]) for row in socket.getaddrinfo(text, None, socket.AF_INET))
        except (OSError, UnicodeError):
            pass  # unknown to DNS, which the caller reports

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(DNS_SECONDS)
    return sorted(set(found))


# Rows of `aliases`: other names of hosts.


def insert_alias(database: Database, host: str, alias: str) -> None:
    """Add an alias to the host of that name."""
    database.execute(
        "INSERT INTO aliases (Node, Name) SELECT ID, %s FROM nodes WHERE Name = %s", (alias, host)
    )


def list_aliases(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, alias) of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, l.Name FROM aliases l JOIN nodes n ON n.ID = l.Node WHERE n.Name IN %s ORDER BY l.ID",
        [names],
    )
    return in_order(rows, names)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> int:
    """Remove one alias, or all, of the hosts; returns their number."""
    condition, values = ("", []) if alias is None else (" AND l.Name = %s", [alias])
    return database.execute(
        f"DELETE l FROM aliases l JOIN nodes n ON n.ID = l.Node WHERE n.Name IN %s{condition}",
        [hosts, *values],
    )


# The lock of names, places and addresses of the site.


LOCK = "names and addresses of the site"
LOCK_SECONDS = 30.0


def lock_inventory(database: Database) -> None:
    """Lock names, places and addresses against other commands that choose or check them.

    Until the connection ends or `unlock_inventory`: the others wait for some seconds only, so nothing slow may follow.
    """
    database.lock(LOCK, LOCK_SECONDS)


def unlock_inventory(database: Database) -> None:
    """Release that lock, however often it was taken, before something slow.

    What was found has to be compared afterwards.
    """
    database.unlock_wholly(LOCK)
