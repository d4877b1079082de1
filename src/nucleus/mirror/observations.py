"""Writes what the poller and the workers have seen of the site, and the names of nodes that follow from it."""

from __future__ import annotations

import sys
from collections import defaultdict
from datetime import datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nucleus.mirror.clusters import bump_generation
from nucleus.mirror.columns import columns_of, placeholders
from nucleus.mirror.events import append_events
from nucleus.records import Interface, NewEvent, Node
from nucleus.states import power_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nucleus.configuration import SiteSettings
    from nucleus.mirror.pool import Session

T = TypeVar("T")

TOPOLOGY, POWER, IMAGE = "topology", "power", "image"
SCHEDULER = "scheduler"
"""Beside the commands of the poller a source, of the controller of computesets: the batch system, if it is Slurm."""


_NO_COLUMNS = frozenset(("is_gone", "cluster", "is_switched", "is_unseen"))
"""What a change of a node says beside new values of columns; `is_switched`: its power was another one until now;
`is_unseen`: it was known until now."""


class NodeValues(NamedTuple):
    """The columns of a node that `rocks` lists; `last_power` follows from these, unless the power is unknown."""

    kind: str
    physical_host: str | None = None
    cpus: int | None = None
    memory_mb: int | None = None
    disk_gb: int | None = None
    state: str | None = None
    image_state: str | None = None
    image_locked: bool | None = None
    gateway: str | None = None
    iso: str | None = None
    uuid: str | None = None
    last_power: str | None = None


class KnownCluster(NamedTuple):
    """A cluster as the poller compares it; `rocks_name` is that of its frontend."""

    name: str
    rocks_name: str
    project_id: int | None
    vlan: int | None
    is_gone: bool


class KnownNode(NamedTuple):
    """A node as the poller compares it; `cluster` is the cluster's number."""

    name: str
    rocks_name: str
    cluster: int
    values: NodeValues
    interfaces: tuple[Interface, ...]
    missing_polls: int
    is_gone: bool
    last_command_at: datetime | None


class NewNode(NamedTuple):
    """A node that a poll adds; `cluster` is the cluster's number, or the name in Rocks of the frontend of a new one."""

    cluster: int | str
    rocks_name: str
    values: NodeValues
    interfaces: tuple[Interface, ...]


class Changes(NamedTuple):
    """What a poll writes.

    New clusters: name in Rocks of the frontend → VLAN. Of clusters and nodes, by their numbers: columns that change,
    `is_gone`, and of a node `cluster`, as of `NewNode`. `touched`: clusters whose generation grows.
    """

    new_clusters: dict[str, int | None]
    new_nodes: list[NewNode]
    clusters: dict[int, dict[str, Any]]
    nodes: dict[int, dict[str, Any]]
    interfaces: dict[int, tuple[Interface, ...]]
    events: list[NewEvent]
    touched: set[int]


def database_now(session: Session) -> datetime:
    """The moment, by the database's clock."""
    moment: datetime = session.value("SELECT UTC_TIMESTAMP(3)")
    return moment


def load_clusters(session: Session) -> dict[int, KnownCluster]:
    """Number → cluster, those that are gone, too."""
    rows = session.rows("SELECT id, name, rocks_name, project_id, vlan, gone_at IS NOT NULL FROM cluster")
    return {number: KnownCluster(*[*values, bool(gone)]) for number, *values, gone in rows}


def load_nodes(
    session: Session, since: datetime | None = None, numbers: Sequence[int] | None = None
) -> dict[int, KnownNode]:
    """Number → node, those that are gone, too, the oldest first; all, those with commands since a moment, or these."""
    condition, values = "", list[Any]()
    if since is not None:
        condition, values = "WHERE n.last_command_at >= %s", [since]
    elif numbers is not None:
        condition, values = f"WHERE n.id IN ({placeholders(numbers)})", list(numbers)
    interfaces: dict[int, list[Interface]] = {}
    for node_id, *interface in session.rows(
        "SELECT i.node_id, i.iface, i.mac, i.ip, i.netmask, i.subnet, i.vlan FROM interface i"
        f" JOIN node n ON n.id = i.node_id {condition} ORDER BY i.node_id, i.position",
        values,
    ):
        interfaces.setdefault(node_id, []).append(Interface(*map(_shared, interface)))
    rows = session.rows(
        "SELECT n.id, n.name, n.rocks_name, n.cluster_id, n.missing_polls, n.gone_at IS NOT NULL, n.last_command_at,"
        f" {columns_of('n', NodeValues._fields)} FROM node n {condition} ORDER BY n.id",
        values,
    )
    found = {}
    for number, name, rocks_name, cluster, missing, gone, commanded, *listed in rows:
        of_node = tuple(interfaces.get(number, ()))
        found[number] = KnownNode(
            _shared(name), _shared(rocks_name), cluster, NodeValues(*map(_shared, listed)), of_node, missing,
            bool(gone), commanded,
        )  # fmt: skip
    return found


def _shared(value: Any) -> Any:
    """The value; equal texts are one object: 20,000 nodes have few hosts, states and networks."""
    return sys.intern(value) if isinstance(value, str) else value


def lock_clusters(session: Session, numbers: Collection[int]) -> None:
    """Lock clusters in the order in which others do."""
    if numbers:
        session.rows(
            f"SELECT id FROM cluster WHERE id IN ({placeholders(numbers)}) ORDER BY id FOR UPDATE", [*numbers]
        )


def apply_changes(session: Session, changes: Changes, site: SiteSettings) -> list[int]:
    """Write what a poll has changed; the numbers of the nodes. The caller appends the events, at the very end.

    Clusters come before their nodes, as in the changes of owners: in another order two would wait for each other. And
    those that leave a name or a MAC come before those that take it.
    """
    added = _write_clusters(session, changes)
    bump_generation(session, changes.touched)
    gone = [number for number, values in changes.nodes.items() if values.get("is_gone")]
    for part in _parts([*changes.interfaces, *gone]):
        session.delete("interface", node_id=part)
    numbers = _write_nodes(session, changes, added, site)
    interfaces = {numbers[one.rocks_name]: one.interfaces for one in changes.new_nodes} | changes.interfaces
    _add_interfaces(session, interfaces)
    return [*changes.nodes, *interfaces]


def _parts(values: list[T]) -> Iterator[list[T]]:
    return (values[begin : begin + 1000] for begin in range(0, len(values), 1000))


class _Names:
    """The names that owners see, of all clusters, or of the nodes of each cluster, but for rows that get new ones."""

    def __init__(self, session: Session, table: str, renamed: Collection[int]) -> None:
        place = "cluster_id" if table == "node" else "0"
        self._taken = defaultdict[int, set[str]](set)
        for number, cluster, name in session.rows(
            f"SELECT id, {place}, name FROM {table} WHERE gone_at IS NULL"
        ):
            if number not in renamed:
                self._taken[cluster].add(name.lower())
        # two may swap theirs
        session.update(table, {}, "name = CONCAT('~', id)", id=[*renamed])

    def take(self, *proposals: str, cluster: int = 0) -> str:
        """The first of these that none has, or else the last with a number."""
        taken = self._taken[cluster]
        possible = chain(proposals, (f"{proposals[-1]}-{number}" for number in count(2)))
        name = next(one for one in possible if one.lower() not in taken)
        taken.add(name.lower())
        return name


def _proposals(name: str, before: str, now: str) -> tuple[str, ...]:
    """Names for owners: a new one in Rocks, unless they have given it another one; `before`, `now`: those in Rocks."""
    return (now, name, now) if name.lower() == before.lower() else (name,)


def _is_named(values: Mapping[str, Any]) -> bool:
    return bool(values.keys() & {"rocks_name", "cluster"}) or values.get("is_gone") is False


def _write_clusters(session: Session, changes: Changes) -> dict[int | str, int]:
    """Write the clusters; name in Rocks of the frontend of each new one, which only operators see → its number."""
    gone = [number for number, values in changes.clusters.items() if values.get("is_gone")]
    session.update("cluster", {}, "gone_at = UTC_TIMESTAMP(3)", id=gone)
    renamed = [number for number, values in changes.clusters.items() if _is_named(values)]
    rows = session.rows(
        f"SELECT id, name, rocks_name FROM cluster WHERE id IN ({placeholders(renamed)})", renamed
    )
    former = {number: names for number, *names in rows}
    names = _Names(session, "cluster", renamed) if renamed or changes.new_clusters else None
    for number, values in changes.clusters.items():
        if not values.get("is_gone"):
            columns = {column: value for column, value in values.items() if column != "is_gone"}
            if names is not None and number in former:
                name, before = former[number]
                columns["name"] = names.take(*_proposals(name, before, values.get("rocks_name", before)))
            session.update("cluster", columns, "gone_at = NULL" * ("is_gone" in values), id=number)
    return {
        frontend: session.insert(
            "cluster",
            {"name": names.take(frontend, f"{frontend}-rocks"), "rocks_name": frontend, "vlan": vlan},
        )
        for frontend, vlan in changes.new_clusters.items()
        if names is not None
    }


def _write_nodes(
    session: Session, changes: Changes, added: Mapping[int | str, int], site: SiteSettings
) -> dict[str, int]:
    """Write the nodes; name in Rocks of each new one → its number. One that returns to its cluster keeps its name."""
    for number, values in changes.nodes.items():
        if values.get("is_gone"):
            columns = {"missing_polls": values["missing_polls"]}
            session.update("node", columns, "gone_at = UTC_TIMESTAMP(3)", id=number)
    renamed = [number for number, values in changes.nodes.items() if _is_named(values)]
    rows = [
        row
        for part in _parts(renamed)
        for row in session.rows(
            f"SELECT id, cluster_id, name, rocks_name FROM node WHERE id IN ({placeholders(part)})", part
        )
    ]
    former = {number: values for number, *values in rows}
    names = _Names(session, "node", former) if renamed or changes.new_nodes else None
    for number, values in changes.nodes.items():
        if values.get("is_gone"):
            continue
        columns = {column: value for column, value in values.items() if column not in _NO_COLUMNS}
        also = ["gone_at = NULL"] * ("is_gone" in values)
        also += ["power_since = UTC_TIMESTAMP(3)"] * ("is_switched" in values)
        also += ["unknown_since = UTC_TIMESTAMP(3)"] * ("is_unseen" in values)
        if (
            "state" in values
        ):  # `iso` is what these values have made of it: the server assigns from left to right
            also.append(f"iso_active = {'iso' if values['state'] == 'active' else 'NULL'}")
        if names is not None and number in former:
            cluster, name, before = former[number]
            now, place = values.get("rocks_name", before), values.get("cluster", cluster)
            proposals = _proposals(name, before, now) if place == cluster else (now,)
            columns["cluster_id"] = place = added.get(place, place)
            columns["name"] = names.take(*proposals, cluster=place)
        session.update("node", columns, ", ".join(also), id=number)
    return _add_nodes(session, changes.new_nodes, names, added, site) if names is not None else {}


def _add_nodes(
    session: Session,
    new: Sequence[NewNode],
    names: _Names,
    added: Mapping[int | str, int],
    site: SiteSettings,
) -> dict[str, int]:
    servers = (site.dns1 or None, site.dns2 or None, site.ntp or None)
    rows = []
    for one in new:
        cluster: Any = added.get(one.cluster, one.cluster)
        rows.append(
            (cluster, names.take(one.rocks_name, cluster=cluster), one.rocks_name, *one.values, *servers)
        )
    columns = ("cluster_id", "name", "rocks_name", *NodeValues._fields, "dns1", "dns2", "ntp")
    session.insert_many(f"INSERT INTO node ({', '.join(columns)}) VALUES", rows)
    numbers = dict[str, int]()
    for part in _parts([one.rocks_name for one in new]):
        which = f"rocks_name IN ({placeholders(part)}) AND gone_at IS NULL ORDER BY id"
        numbers |= session.rows(f"SELECT rocks_name, id FROM node WHERE {which}", part)
    return numbers


def _add_interfaces(session: Session, listed: Mapping[int, tuple[Interface, ...]]) -> None:
    rows = [
        (number, position, *one)
        for number, interfaces in listed.items()
        for position, one in enumerate(interfaces)
    ]
    for part in _parts([one.mac for interfaces in listed.values() for one in interfaces]):
        session.delete("interface", mac=part)
    session.insert_many(
        "INSERT INTO interface (node_id, position, iface, mac, ip, netmask, subnet, vlan) VALUES", rows
    )


def record_observed(
    session: Session, kinds: Iterable[str], at: datetime, without_images: Collection[int] = ()
) -> None:
    """Note when the commands began whose answers the mirror has now: topology, power, image.

    `without_images`: clusters some of whose images were not listed.
    """
    changes, values = list[str](), list[Any]()
    for kind in kinds:
        column, unlisted = f"observed_{kind}", without_images if kind == IMAGE else ()
        changes.append(f"{column} = IF(id IN ({placeholders(unlisted)}), {column}, %s)")
        values += [*unlisted, at]
    if changes:
        session.execute(f"UPDATE cluster SET {', '.join(changes)} WHERE gone_at IS NULL", values)


def end_future(session: Session, now: datetime) -> None:
    """After the clock was set back: times later than `now` become `now`, so that the next poll is newer."""
    observed = [("cluster", f"observed_{kind}") for kind in (TOPOLOGY, POWER, IMAGE)]
    for table, column in (*observed, ("node", "last_command_at")):
        session.execute(f"UPDATE {table} SET {column} = %s WHERE {column} > %s", (now, now))


def record_source(
    session: Session, name: str, seconds: float, observed: datetime | None, count: int, error: str | None
) -> None:
    """Note how a command of the poller, or `SCHEDULER`, ended; `error` None: its answer is in the mirror."""
    session.insert("source", {"name": name}, "INSERT IGNORE")
    columns: dict[str, Any] = {"duration_seconds": seconds, "last_error": error and error[:4000]}
    if error is None:
        columns |= {"observed": observed, "row_count": count, "failures": 0}
    session.update("source", columns, "failures = failures + 1" * bool(error), name=name)


class SourceState(NamedTuple):
    """How a command is doing; `observed` None: none has succeeded yet."""

    name: str
    observed: datetime | None
    row_count: int
    failures: int
    last_error: str | None
    duration_seconds: float


def read_sources(session: Session) -> list[SourceState]:
    """All commands of the poller, and `SCHEDULER`."""
    rows = session.rows(f"SELECT {columns_of('source', SourceState._fields)} FROM source ORDER BY name")
    return [SourceState(*row) for row in rows]


def record_state(
    session: Session,
    node: Node,
    cluster_name: str,
    project_id: int | None,
    state: str | None,
    host: str | None,
) -> None:
    """Note the state that a worker has just read: an older poll does not count any more.

    What the mirror has is compared, not `node`: a poll may have changed it since the worker read that.
    """
    session.row(
        "SELECT id FROM cluster WHERE id = %s FOR UPDATE", (node.cluster_id,)
    )  # owners lock it first, too
    known = session.row("SELECT state, physical_host FROM node WHERE id = %s FOR UPDATE", (node.id,))
    old, old_host = known or (node.state, node.physical_host)
    power = power_of(state, has_host=host is not None)
    is_unseen = power == "unknown" != power_of(old, has_host=old_host is not None)
    session.execute(
        "UPDATE node SET last_command_at = UTC_TIMESTAMP(3), iso_active ="
        " IF(%s = 'active', IF(IFNULL(state, '') = 'active', iso_active, iso), NULL), state = %s, physical_host = %s,"
        " power_since = IF(%s IN ('unknown', IFNULL(last_power, '')), power_since, UTC_TIMESTAMP(3)),"
        " unknown_since = IF(%s, UTC_TIMESTAMP(3), unknown_since),"
        " last_power = IF(%s = 'unknown', last_power, %s) WHERE id = %s",
        (state, state, host, power, is_unseen, power, power, node.id),
    )
    if state != old or host != old_host:
        bump_generation(session, [node.cluster_id])
    if state != old:
        target = f"{cluster_name}/{node.name}"
        append_events(session, [NewEvent("node.power", target, old, state, project_id, node.cluster_id)])
