"""What the poller and the workers have seen of the site: the columns that nobody else writes."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.clusters import bump_generation
from nucleus.mirror.columns import columns_of, placeholders
from nucleus.mirror.events import append_events
from nucleus.records import Interface, NewEvent, Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nucleus.configuration import SiteSettings
    from nucleus.mirror.pool import Session

TOPOLOGY, POWER, IMAGE = "topology", "power", "image"
SCHEDULER = "scheduler"
"""Beside the commands of the poller a source, of the controller of computesets: the batch system, if it is Slurm."""


class NodeValues(NamedTuple):
    """The columns of a node that `rocks` lists."""

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


class KnownCluster(NamedTuple):
    """A cluster as the poller compares it."""

    id: int
    name: str
    project_id: int | None
    vlan: int | None
    missing_polls: int
    is_gone: bool


class KnownNode(NamedTuple):
    """A node as the poller compares it; `cluster` is the cluster's name in Rocks."""

    name: str
    cluster: str
    values: NodeValues | None
    interfaces: tuple[Interface, ...]
    missing_polls: int
    is_gone: bool
    last_command_at: datetime | None


class Changes(NamedTuple):
    """What a poll writes; names are those of Rocks. `touched`: clusters whose generation grows."""

    new_clusters: list[tuple[str, int | None]]
    new_nodes: list[tuple[str, str, NodeValues, tuple[Interface, ...]]]
    clusters: dict[str, dict[str, Any]]
    nodes: dict[str, dict[str, Any]]
    interfaces: dict[str, tuple[Interface, ...]]
    events: list[NewEvent]
    touched: set[str]


def database_now(session: Session) -> datetime:
    """The moment, by the database's clock."""
    moment: datetime = session.value("SELECT UTC_TIMESTAMP(3)")
    return moment


def load_clusters(session: Session) -> dict[str, KnownCluster]:
    """Name in Rocks → cluster, those that are gone, too."""
    rows = session.rows(
        "SELECT rocks_name, id, name, project_id, vlan, missing_polls, gone_at IS NOT NULL FROM cluster"
    )
    return {name: KnownCluster(*[*values[:-1], bool(values[-1])]) for name, *values in rows}


def load_nodes(
    session: Session, since: datetime | None = None, names: Sequence[str] | None = None
) -> dict[str, KnownNode]:
    """Name in Rocks → node, those that are gone, too; all, those with commands since a moment, or those of names."""
    condition, values = "", list[Any]()
    if since is not None:
        condition, values = "WHERE n.last_command_at >= %s", [since]
    elif names is not None:
        condition, values = f"WHERE n.rocks_name IN ({placeholders(names)})", list(names)
    interfaces: dict[int, list[Interface]] = {}
    for node_id, *interface in session.rows(
        "SELECT i.node_id, i.iface, i.mac, i.ip, i.netmask, i.subnet, i.vlan FROM interface i"
        f" JOIN node n ON n.id = i.node_id {condition} ORDER BY i.node_id, i.position",
        values,
    ):
        interfaces.setdefault(node_id, []).append(Interface(*map(_shared, interface)))
    rows = session.rows(
        "SELECT n.rocks_name, n.id, n.name, c.rocks_name, n.missing_polls, n.gone_at IS NOT NULL, n.last_command_at,"
        " n.kind, n.physical_host, n.cpus, n.memory_mb, n.disk_gb, n.state, n.image_state, n.image_locked, n.gateway,"
        f" n.iso, n.uuid FROM node n JOIN cluster c ON c.id = n.cluster_id {condition}",
        values,
    )
    found = {}
    for rocks_name, number, name, cluster, missing, gone, commanded, *listed in rows:
        of_node = tuple(interfaces.get(number, ()))
        found[_shared(rocks_name)] = KnownNode(
            _shared(name), _shared(cluster), NodeValues(*map(_shared, listed)), of_node, missing, bool(gone),
            commanded,
        )  # fmt: skip
    return found


def _shared(value: Any) -> Any:
    """The same value; equal texts are one object: 20,000 nodes have few hosts, states and networks."""
    return sys.intern(value) if isinstance(value, str) else value


def lock_clusters(session: Session, names: Collection[str]) -> None:
    """Lock clusters, by their names in Rocks, in the order in which others do."""
    numbers = dict(session.rows("SELECT rocks_name, id FROM cluster")) if names else {}
    found = [numbers[name] for name in names if name in numbers]
    if found:
        session.rows(
            f"SELECT id FROM cluster WHERE id IN ({placeholders(found)}) ORDER BY id FOR UPDATE", found
        )


def apply_changes(session: Session, changes: Changes, site: SiteSettings) -> None:
    """Write what a poll has changed; the caller appends the events, at the end of the transaction.

    Clusters come before their nodes, as in the changes of owners: in another order two would wait for each other.
    """
    for frontend, vlan in changes.new_clusters:
        _add_cluster(session, frontend, vlan)
    for name, values in changes.clusters.items():
        if values.get("has_returned"):
            _return_cluster(session, name, values)
        else:
            _update(session, "cluster", name, dict(values))
    is_needed = changes.new_nodes or changes.nodes or changes.touched
    numbers = dict(session.rows("SELECT rocks_name, id FROM cluster")) if is_needed else {}
    bump_generation(session, [numbers[name] for name in changes.touched])
    # those that leave a name or a MAC come before those that take it
    replaced = [
        *changes.interfaces,
        *(name for name, values in changes.nodes.items() if values.get("is_gone")),
    ]
    for part in _parts(replaced):
        session.execute(
            "DELETE i FROM interface i JOIN node n ON n.id = i.node_id"
            f" WHERE n.rocks_name IN ({placeholders(part)})",
            part,
        )
    for name, values in sorted(changes.nodes.items(), key=lambda one: not one[1].get("is_gone")):
        _update_node(session, name, dict(values), numbers)
    _add_nodes(session, changes, numbers, site)
    listed = {name: interfaces for name, _, _, interfaces in changes.new_nodes} | changes.interfaces
    _add_interfaces(session, listed)


def _parts(names: list[str]) -> Iterator[list[str]]:
    return (names[begin : begin + 1000] for begin in range(0, len(names), 1000))


def _add_cluster(session: Session, frontend: str, vlan: int | None) -> None:
    """A cluster that nobody but operators sees; one of the same name that is gone keeps its computesets."""
    gone = session.column("SELECT id FROM cluster WHERE rocks_name = %s AND gone_at IS NOT NULL", (frontend,))
    forget_rocks_names(session, "cluster", gone)
    session.delete("cluster_allocation", cluster_id=gone)
    name = _free_cluster_name(session, frontend, frontend)
    number = session.insert("cluster", {"name": name, "rocks_name": frontend, "vlan": vlan})
    session.update("node", {"cluster_id": number}, cluster_id=gone, gone_at=None)  # listed after its removal


def _return_cluster(session: Session, frontend: str, values: Mapping[str, Any]) -> None:
    """One that was gone is there again, its owner's and with its computesets."""
    (name,) = session.column("SELECT name FROM cluster WHERE rocks_name = %s", (frontend,))
    columns = {**values, "name": _free_cluster_name(session, name, frontend)}
    del columns["has_returned"]
    session.update("cluster", columns, "gone_at = NULL", rocks_name=frontend)


def _free_cluster_name(session: Session, name: str, rocks_name: str) -> str:
    """The name for a cluster, or another one where one that is there has it."""
    names = {str(one).lower() for one in session.column("SELECT name FROM cluster WHERE gone_at IS NULL")}
    other = f"{rocks_name}-rocks"
    possible = (name, other, *(f"{other}-{n}" for n in range(2, 1000)))
    return next(free for free in possible if free.lower() not in names)


def forget_rocks_names(session: Session, table: str, numbers: list[int]) -> None:
    """Change the Rocks names of rows that are gone, so that new clusters and nodes can have them."""
    session.update(table, {}, "rocks_name = CONCAT(LEFT(rocks_name, 100), '~', id)", id=numbers)


def _update(session: Session, table: str, name: str, values: dict[str, Any], also: str = "") -> None:
    if values.pop("is_gone", False):
        also += f"{', ' * bool(also)}gone_at = UTC_TIMESTAMP(3)"
    session.update(table, values, also, rocks_name=name)


def _update_node(session: Session, name: str, values: dict[str, Any], numbers: Mapping[str, int]) -> None:
    cluster = values.pop("cluster", None)
    if cluster is not None:
        values["cluster_id"] = numbers[cluster]
        values["name"] = _free_name(session, numbers[cluster], name, name)
    also = ""
    if "state" in values:  # `iso` is what these values have made of it: the server assigns from left to right
        also = "iso_active = iso" if values["state"] == "active" else "iso_active = NULL"
    _update(session, "node", name, values, also)


def _free_name(session: Session, cluster_id: int, rocks_name: str, name: str) -> str:
    """The name for a node, unless another node of the cluster has it."""
    names = {
        str(one).lower()
        for one in session.column(
            "SELECT name FROM node WHERE cluster_id = %s AND gone_at IS NULL AND rocks_name <> %s",
            (cluster_id, rocks_name),
        )
    }
    if name.lower() not in names:
        return name
    return next(free for free in (f"{name}-{n}" for n in range(2, 1000)) if free.lower() not in names)


def _add_nodes(session: Session, changes: Changes, numbers: Mapping[str, int], site: SiteSettings) -> None:
    """One that returns to its cluster keeps the name that its owner gave it; DNS and NTP servers stay everywhere."""
    columns = ("cluster_id", "name", "rocks_name", *NodeValues._fields)
    frontends = {name: frontend for name, frontend, *_ in changes.new_nodes}
    returning = dict[str, str]()
    for part in _parts([*frontends]):
        gone = session.column(
            "SELECT n.id FROM node n JOIN cluster c ON c.id = n.cluster_id"
            f" WHERE n.rocks_name IN ({placeholders(part)}) AND n.gone_at IS NOT NULL AND c.gone_at IS NOT NULL",
            part,
        )
        forget_rocks_names(session, "node", gone)
        for name, cluster_id, given in session.rows(
            "SELECT rocks_name, cluster_id, name FROM node"
            f" WHERE rocks_name IN ({placeholders(part)}) AND name <> rocks_name",
            part,
        ):
            if cluster_id == numbers.get(frontends.get(name, "")):
                returning[name] = _free_name(session, cluster_id, name, given)
                session.update("node", {"name": returning[name]}, "gone_at = NULL", rocks_name=name)
    renamed = {
        name.lower()
        for name in session.column("SELECT name FROM node WHERE name <> rocks_name AND gone_at IS NULL")
    }
    rows = []
    for name, frontend, values, _ in changes.new_nodes:
        number = numbers[frontend]
        visible = returning.get(name) or (
            _free_name(session, number, name, name) if name.lower() in renamed else name
        )
        rows.append((number, visible, name, *values, site.dns1 or None, site.dns2 or None, site.ntp or None))
    again = ", ".join(f"{column} = VALUES({column})" for column in columns)
    session.insert_many(
        f"INSERT INTO node ({', '.join(columns)}, dns1, dns2, ntp) VALUES",
        rows,
        f"ON DUPLICATE KEY UPDATE {again}, gone_at = NULL, missing_polls = 0, iso_active = NULL",
    )


def _add_interfaces(session: Session, listed: Mapping[str, tuple[Interface, ...]]) -> None:
    names = [name for name, interfaces in listed.items() if interfaces]
    rows, macs = [], []
    for part in _parts(names):
        for name, number in session.rows(
            f"SELECT rocks_name, id FROM node WHERE rocks_name IN ({placeholders(part)})", part
        ):
            for position, one in enumerate(listed[name]):
                rows.append((number, position, *one))
                macs.append(one.mac)
    for part in _parts(macs):
        session.delete("interface", mac=part)
    session.insert_many(
        "INSERT INTO interface (node_id, position, iface, mac, ip, netmask, subnet, vlan) VALUES", rows
    )


def record_observed(
    session: Session, kinds: Iterable[str], at: datetime, without_images: Collection[str] = ()
) -> None:
    """Note when the commands began whose answers the mirror has now: topology, power, image.

    `without_images`: names in Rocks of clusters some of whose images were not listed.
    """
    changes, values = list[str](), list[Any]()
    for kind in kinds:
        column, unlisted = f"observed_{kind}", without_images if kind == IMAGE else ()
        changes.append(f"{column} = IF(rocks_name IN ({placeholders(unlisted)}), {column}, %s)")
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
    session.execute(
        "UPDATE node SET last_command_at = UTC_TIMESTAMP(3), iso_active ="
        " IF(%s = 'active', IF(IFNULL(state, '') = 'active', iso_active, iso), NULL), state = %s, physical_host = %s"
        " WHERE id = %s",
        (state, state, host, node.id),
    )
    if state != old or host != old_host:
        bump_generation(session, [node.cluster_id])
    if state != old:
        target = f"{cluster_name}/{node.name}"
        append_events(session, [NewEvent("node.power", target, old, state, project_id, node.cluster_id)])
