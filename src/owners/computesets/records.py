"""Computesets and their nodes."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.columns import columns_of, from_json, placeholders, visible
from nucleus.mirror.usage import CHARGED, RESERVED
from nucleus.records import JsonObject, Scope
from nucleus.states import CREATED, LIVING_SETS, is_ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


class Computeset(NamedTuple):
    """Computes that are started together. `context` is the state machine's own; `node_ids` in natural order of names.

    `requested_by`: who started it; `user`: the Unix account of its cluster, or, without one, that same user. `account`:
    the allocation that it charges. `name` and `jobid` are of its job, `nodelist` is the job's hosts.

    `waiting`, in words for owners, `place` and `estimated_start` are of a set whose job waits. `charged_seconds`: of
    nodes, as the batch system has charged a set that has ended; None where it does not. `charged_so_far_seconds`: until
    that is known. `merged_into`: the set that this one is a part of; `merged`: the parts of a set that is shown as one.
    """

    id: int
    cluster_id: int
    state: str
    context: JsonObject
    version: int
    user: str
    account: str
    reservation: str | None
    walltime_minutes: int
    node_count: int
    name: str | None
    jobid: int | None
    nodelist: str | None
    start_time: datetime | None
    created: datetime
    requested_by: str
    cancel_requested: str | None
    end_reason: str | None
    ended_at: datetime | None
    degraded: bool
    waiting: str | None
    place: int | None
    estimated_start: datetime | None
    walltime_end: datetime | None
    charged_seconds: int | None
    charged_so_far_seconds: int | None
    merged_into: int | None
    node_ids: tuple[int, ...]
    merged: tuple[int, ...] = ()

    @property
    def used_seconds(self) -> int | None:
        """Of nodes, in whole minutes, as `charges` counts what no batch system does; None before its end."""
        if self.ended_at is None:
            return None
        seconds = int((self.ended_at - self.start_time).total_seconds()) if self.start_time else 0
        return self.node_count * -(-seconds // 60) * 60


_COLUMNS = columns_of("s", Computeset._fields[:-2])

SAME_END = timedelta(minutes=2)
"""Parts of a set that were extended together end within a minute of each other."""


def as_one(parts: Sequence[Computeset]) -> Computeset:
    """What owners see of merged sets; the first one is the one that the others were merged into. Pure.

    It has the nodes of the parts that live, or of all when none does: a part that ends leaves the others as they are.
    Its start is the first one of all parts, its end the earliest one of those that are not ending. Its charge is the
    sum over all parts.
    """
    if len(parts) == 1:
        return parts[0]
    those = [one for one in parts if one.ended_at is None] or parts
    main = min(those, key=lambda one: is_ending(one.state, one.cancel_requested))
    timed = [one for one in those if not is_ending(one.state, one.cancel_requested)] or those
    start = min((one.start_time for one in parts if one.start_time), default=None)
    end = min((one.walltime_end for one in timed if one.walltime_end), default=None)
    charged = [one.charged_seconds for one in parts if one.charged_seconds is not None]
    so_far = [one.charged_so_far_seconds for one in parts if one.charged_so_far_seconds is not None]
    is_charged = len(charged) == len(parts)
    return main._replace(
        id=parts[0].id,
        walltime_minutes=main.walltime_minutes
        if start is None or end is None
        else round((end - start).total_seconds() / 60),
        node_count=sum(one.node_count for one in those),
        nodelist=",".join(one.nodelist for one in those if one.nodelist) or None,
        start_time=start,
        created=parts[0].created,
        requested_by=parts[0].requested_by,
        ended_at=None if main.ended_at is None else max(one.ended_at for one in those if one.ended_at),
        degraded=any(one.degraded for one in parts),
        walltime_end=end,
        charged_seconds=sum(charged) if is_charged else None,
        charged_so_far_seconds=sum(charged + so_far) if so_far and not is_charged else None,
        merged_into=None,
        node_ids=tuple(node_id for one in those for node_id in one.node_ids),
        merged=tuple(one.id for one in parts[1:]),
    )


def minutes_of_parts(parts: Sequence[Computeset], minutes: int) -> dict[int, int]:
    """Part → its walltime in minutes, where the set that they are runs for so many in all. Pure.

    Parts that end, or have ended, are left out, and those that run as long anyway.
    """
    if len(parts) == 1:
        return {parts[0].id: minutes}
    start, found = as_one(parts).start_time, dict[int, int]()
    for one in parts:
        if one.ended_at is None and not is_ending(one.state, one.cancel_requested):
            later = (one.start_time - start).total_seconds() if start and one.start_time else 0.0
            left = (one.walltime_end - start).total_seconds() if start and one.walltime_end else 0.0
            if left < minutes * 60:
                found[one.id] = max(minutes - int(later // 60), one.walltime_minutes)
    return found


class NewComputeset(NamedTuple):
    """A set that is asked for; `node_ids` in natural order of the nodes' names."""

    cluster_id: int
    node_ids: tuple[int, ...]
    user: str
    account: str
    reservation: str | None
    walltime_minutes: int
    requested_by: str
    context: JsonObject = {}


def insert_computeset(session: Session, new: NewComputeset) -> int:
    """Store a set in state created, with its nodes: it is of the project that has the cluster now.

    DuplicateError when another living set has one of the nodes.
    """
    project_id = session.value("SELECT project_id FROM cluster WHERE id = %s", (new.cluster_id,))
    columns = {
        **new._asdict(),
        "project_id": project_id,
        "state": CREATED,
        "node_count": len(new.node_ids),
    }
    del columns["node_ids"]
    number = session.insert("computeset", columns)
    session.insert_many(
        "INSERT INTO computeset_node (computeset_id, node_id, position, active) VALUES",
        [(number, node_id, position, 1) for position, node_id in enumerate(new.node_ids)],
    )
    return number


def find_computeset(session: Session, scope: Scope, number: int, lock: bool = False) -> Computeset | None:
    """The set; None when there is none or the asker may not see it."""
    condition, values = _of_asker(scope)
    found = _sets(
        session, f"WHERE s.id = %s AND {condition}{' FOR UPDATE' if lock else ''}", [number, *values]
    )
    return found[0] if found else None


def list_computesets(
    session: Session, scope: Scope, states: Sequence[str] = (), cluster_id: int | None = None
) -> list[Computeset]:
    """Sets that the asker may see, by number, without those that are parts of others.

    Those merged with others are found where one of their parts has a state, and may not have it as a whole.
    """
    which, values = _visible(scope, states, cluster_id)
    return _sets(session, f"{which} ORDER BY s.id", values)


def _of_asker(scope: Scope) -> tuple[str, list[Any]]:
    """As `visible`: of a cluster that was given to another project, its owners do not see the sets of the former."""
    of_cluster, values = visible(scope)
    of_set, more = visible(scope, "s.project_id")
    return f"{of_cluster} AND {of_set}", values + more


def _visible(scope: Scope, states: Sequence[str], cluster_id: int | None) -> tuple[str, list[Any]]:
    """Without the parts of others, with which the set in their place is found; see `list_computesets`."""
    condition, values = _of_asker(scope)
    sql = f"WHERE s.merged_into IS NULL AND {condition}"
    living = [state for state in states if state in LIVING_SETS]
    ended = [state for state in states if state not in living]
    if states:
        of_part = "SELECT COALESCE(p.merged_into, p.id) FROM computeset p WHERE p.state IN"
        found = [f"s.id IN ({of_part} ({placeholders(living)}))"] if living else []
        found += [f"s.state IN ({placeholders(ended)})"] if ended else []
        sql, values = f"{sql} AND ({' OR '.join(found)})", [*values, *living, *ended]
    if cluster_id is not None:
        sql, values = f"{sql} AND s.cluster_id = %s", [*values, cluster_id]
    return sql, values


class Ended(NamedTuple):
    """When a set ended: not before `first`, and before `last`. None: at any time, or not at all."""

    first: datetime | None = None
    last: datetime | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """SQL behind AND, and its values."""
        pairs = [(">=", self.first), ("<", self.last)]
        given = [(compared, moment) for compared, moment in pairs if moment is not None]
        return "".join(f" AND s.ended_at {compared} %s" for compared, _ in given), [it for _, it in given]


def sizes_of_computesets(
    session: Session,
    scope: Scope,
    states: Sequence[str],
    cluster_id: int | None,
    after: int | None,
    limit: int,
    ended: Ended,
) -> list[tuple[int, int]]:
    """(number, how many nodes) of sets that the asker may see: those after a number, or for None the newest first."""
    which, values = _visible(scope, states, cluster_id)
    of_time, moments = ended.condition()
    which, values = f"{which}{of_time}", [*values, *moments]
    if after is not None:
        which, values = f"{which} AND s.id > %s", [*values, after]
    rows = session.rows(
        f"SELECT s.id, s.node_count FROM computeset s JOIN cluster c ON c.id = s.cluster_id {which}"
        f" ORDER BY s.id{' DESC' if after is None else ''} LIMIT %s",
        [*values, limit],
    )
    numbers = [number for number, _ in rows]
    of_parts = dict[int, int](
        session.rows(
            "SELECT merged_into, SUM(node_count) FROM computeset"
            f" WHERE merged_into IN ({placeholders(numbers)}) GROUP BY merged_into",
            numbers,
        )
        if numbers
        else ()
    )
    return [(number, count + int(of_parts.get(number, 0))) for number, count in rows]


def computesets_by_number(session: Session, numbers: Sequence[int]) -> list[Computeset]:
    """The sets of these numbers, by number, for an asker who may see them."""
    return _sets(session, f"WHERE s.id IN ({placeholders(numbers)}) ORDER BY s.id", numbers)


def enders(session: Session, numbers: Sequence[int]) -> dict[int, str]:
    """Number → who asked for its end first, of these sets, for an asker who may see them."""
    if not numbers:
        return {}
    rows = session.rows(
        "SELECT target_set, actor FROM operation"
        f" WHERE target_set IN ({placeholders(numbers)}) AND kind = 'end_set' ORDER BY id DESC",
        numbers,
    )
    return dict(rows)


def parts_of(session: Session, numbers: Sequence[int]) -> dict[int, list[Computeset]]:
    """Number → the sets that were merged into that one, by number; for an asker who may see it."""
    found: dict[int, list[Computeset]] = defaultdict(list)
    if numbers:
        for one in _sets(session, f"WHERE s.merged_into IN ({placeholders(numbers)}) ORDER BY s.id", numbers):
            found[one.merged_into or 0].append(one)
    return found


def find_part(session: Session, number: int, node_id: int) -> Computeset | None:
    """The set, or the part of it, that had the node last."""
    where = "JOIN computeset_node m ON m.computeset_id = s.id WHERE (s.id = %s OR s.merged_into = %s)"
    found = _sets(
        session, f"{where} AND m.node_id = %s ORDER BY m.active DESC, s.id DESC", [number, number, node_id]
    )
    return found[0] if found else None


def merge(session: Session, number: int, other: int) -> None:
    """Have owners see the other set, with its parts, as a part of this one."""
    sql = "UPDATE computeset SET merged_into = %s WHERE id = %s OR merged_into = %s"
    session.execute(sql, (number, other, other))


def has_started_lately(session: Session, cluster_id: int, count: int) -> bool:
    """Whether so many sets of a cluster were made within an hour: of all that it ever had only these are read."""
    row = session.row(
        "SELECT created > UTC_TIMESTAMP(3) - INTERVAL 1 HOUR FROM computeset WHERE cluster_id = %s"
        " ORDER BY id DESC LIMIT 1 OFFSET %s",
        (cluster_id, count - 1),
    )
    return row is not None and bool(row[0])


def living_sets(session: Session, known: Sequence[Computeset] = ()) -> list[Computeset]:
    """All sets that have not ended, by number: for the controller. Of those `known`, what has changed is read again.

    What does not count as a change is the charge, which the controller does not look at.
    """
    before = {(one.id, one.version, one.cancel_requested): one for one in known}
    sql = f"SELECT id, version, cancel_requested FROM computeset WHERE state IN ({placeholders(LIVING_SETS)})"
    keys = session.rows(f"{sql} ORDER BY id", LIVING_SETS)
    changed = [key[0] for key in keys if key not in before]
    read = {one.id: one for one in _sets(session, f"WHERE s.id IN ({placeholders(changed)})", changed)}
    return [read[key[0]] if key[0] in read else before[key] for key in keys]


def sets_of_removed_clusters(session: Session) -> set[int]:
    """The numbers of the sets that have not ended, although the site has removed their clusters."""
    sql = "SELECT s.id FROM computeset s JOIN cluster c ON c.id = s.cluster_id WHERE c.gone_at IS NOT NULL"
    return set(session.column(f"{sql} AND s.state IN ({placeholders(LIVING_SETS)})", LIVING_SETS))


def request_end(session: Session, number: int, how: str) -> bool:
    """Ask for a set's end; `how` is shutdown or poweroff, which replaces an earlier shutdown. Whether the set lives."""
    return bool(
        session.execute(
            "UPDATE computeset SET cancel_requested = IF(cancel_requested = 'poweroff', 'poweroff', %s)"
            f" WHERE id = %s AND state IN ({placeholders(LIVING_SETS)})",
            [how, number, *LIVING_SETS],
        )
    )


def store_computeset(session: Session, number: int, version: int, changed: dict[str, Any]) -> bool:
    """Store what a step changed (column → value; `context` and `notes` as objects); False when another was faster."""
    return bool(session.update("computeset", changed, "version = version + 1", id=number, version=version))


class NodeWithoutJob(NamedTuple):
    """A compute of owners that is on, on a host that no job of a computeset has.

    `target` is CLUSTER/NODE, as owners call it; `computeset`: the living set that the node is in, if any. `is_running`:
    that set has a job, which has lost the node's host, or an operator has moved the node to another.
    """

    id: int
    target: str
    rocks_name: str
    host: str | None
    project_id: int | None
    cluster_id: int
    computeset: int | None
    is_running: bool


_HAS_NO_JOB = (
    "(s.id IS NULL OR s.state IN ('created', 'submitted')"
    " OR (s.state = 'ending' AND JSON_VALUE(s.context, '$.job_gone')))"
)
"""The condition on a node in the living set s, if any: its job has no hosts yet, or has ended."""


def host_of(running: Computeset, node_id: int) -> str | None:
    """The host of a node in the job of a running set; None when the job has lost it: it may be another's."""
    host = next((one["host"] for one in running.context.get("members", ()) if one["id"] == node_id), None)
    return host if host in running.context.get("hosts", ()) else None


def nodes_without_job(session: Session) -> list[NodeWithoutJob]:
    """All nodes without a job, by name; clusters without a project are the operators' own.

    Without those that the last complete poll did not list: they keep their state until a second one has not, either.
    """
    hosts = {
        number: {host.casefold() for host in from_json(found)}
        for number, found in session.rows(
            "SELECT id, COALESCE(JSON_QUERY(context, '$.hosts'), '[]') FROM computeset WHERE state = 'running'"
        )
    }
    nodes = [
        NodeWithoutJob(*row)
        for row in session.rows(
            "SELECT n.id, CONCAT(c.name, '/', n.name), n.rocks_name, n.physical_host, c.project_id, c.id, s.id,"
            " COALESCE(s.state = 'running', 0)"
            " FROM node n JOIN cluster c ON c.id = n.cluster_id"
            " LEFT JOIN computeset_node m ON m.node_id = n.id AND m.active = 1"
            " LEFT JOIN computeset s ON s.id = m.computeset_id"
            " WHERE n.state = 'active' AND n.kind = 'compute' AND n.gone_at IS NULL AND n.missing_polls = 0"
            " AND c.project_id IS NOT NULL"
            f" AND (s.state = 'running' AND n.physical_host IS NOT NULL OR {_HAS_NO_JOB}) ORDER BY c.name, n.name"
        )
    ]
    return [
        node
        for node in nodes
        if not node.is_running or str(node.host).casefold() not in hosts.get(node.computeset or 0, ())
    ]


def late_sets(session: Session) -> list[int]:
    """Sets that end, and whose images were not written back in time."""
    return session.column(
        "SELECT id FROM computeset WHERE state = 'ending' AND JSON_LENGTH(context, '$.hosts') > 0"
        " AND NOT JSON_EXISTS(notes, '$.sync_timeout') ORDER BY id"
    )


def late_charges(session: Session) -> list[int]:
    """Sets of the last 30 days with a job of Slurm that have ended an hour ago, and have no charge yet."""
    return session.column(
        "SELECT id FROM computeset WHERE ended_at > UTC_TIMESTAMP(3) - INTERVAL 30 DAY"
        " AND ended_at < UTC_TIMESTAMP(3) - INTERVAL 1 HOUR"
        " AND charged_seconds IS NULL AND charged_so_far_seconds IS NOT NULL ORDER BY id"
    )


def uncharged_sets(session: Session) -> dict[str, bool]:
    """Name of the job → whether the set has ended, of sets whose charge grows, is not known, or may still change.

    The last is so in the hour after the end: a slurmctld that was killed may have forgotten it, and end the job again.
    Of those that have ended: any 100 of 30 days, so that some without a charge hide no others, and any 100 of the hour.
    Those that were refused have no job.
    """
    ended = "SELECT name, TRUE FROM computeset WHERE name IS NOT NULL AND jobid IS NOT NULL AND charged_seconds IS"
    anew = "ORDER BY RAND() LIMIT 100"
    rows = session.rows(
        f"({ended} NULL AND ended_at > UTC_TIMESTAMP(3) - INTERVAL 30 DAY {anew}) UNION ALL"
        f" ({ended} NOT NULL AND ended_at > UTC_TIMESTAMP(3) - INTERVAL 1 HOUR {anew}) UNION ALL"
        " SELECT name, FALSE FROM computeset WHERE ended_at IS NULL AND start_time IS NOT NULL AND name IS NOT NULL"
    )
    return {name: bool(has_ended) for name, has_ended in rows}


def read_notes(session: Session, numbers: Sequence[int]) -> dict[int, JsonObject]:
    """Set → what its controller has noted: name of a timer → when it is due, of `computesets.lifecycle`, and more."""
    rows = session.rows(f"SELECT id, notes FROM computeset WHERE id IN ({placeholders(numbers)})", numbers)
    return {number: dict(from_json(notes)) for number, notes in rows}


def release_nodes(session: Session, number: int) -> None:
    """Let other sets have the nodes of this one; that it had them is kept."""
    ended = "released_at = UTC_TIMESTAMP(3)"
    session.update("computeset_node", {"active": None}, ended, computeset_id=number, active=1)


def _sets(session: Session, where: str, values: Sequence[Any]) -> list[Computeset]:
    rows = session.rows(
        f"SELECT {_COLUMNS} FROM computeset s JOIN cluster c ON c.id = s.cluster_id {where}", values
    )
    members: dict[int, list[int]] = defaultdict(list)
    if rows:
        numbers = [row[0] for row in rows]
        for number, node_id in session.rows(
            "SELECT computeset_id, node_id FROM computeset_node"
            f" WHERE computeset_id IN ({placeholders(numbers)}) ORDER BY computeset_id, position",
            numbers,
        ):
            members[number].append(node_id)
    found: list[tuple[Any, ...]] = [(*row, tuple(members[row[0]])) for row in rows]
    sets = [Computeset(*one) for one in found]
    return [one._replace(context=from_json(str(one.context))) for one in sets]


# What allocations were charged.


def committed_minutes(session: Session, account: str) -> int:
    """Node minutes that an allocation's sets have used, and that its living ones may use. Locks the allocation."""
    session.row("SELECT id FROM allocation WHERE name = %s FOR UPDATE", (account,))
    minutes = session.value(
        f"SELECT SUM({RESERVED} + {CHARGED}) FROM computeset s WHERE s.account = %s", (account,)
    )
    return int(minutes or 0)


class Charge(NamedTuple):
    """What computesets that have ended were charged, in seconds of nodes; `project` None: of no project."""

    allocation: str
    project: str | None
    user: str
    cluster: str
    computesets: int
    charged_seconds: int


def charges(
    session: Session, scope: Scope, begin: datetime | None = None, end: datetime | None = None
) -> list[Charge]:
    """The charges of sets that ended from `begin` on and before `end`, in the asker's projects: those of the time.

    A set belongs to the time of its end only, so the charges of times that follow each other add up to all.
    """
    return [one for _, one in _charges(session, scope, begin, end, "NULL")]


def charges_by_day(
    session: Session, scope: Scope, begin: datetime, end: datetime
) -> list[tuple[date, Charge]]:
    """As `charges`, of each day that has some, in UTC."""
    return _charges(session, scope, begin, end, "DATE(s.ended_at)")


def _charges(
    session: Session, scope: Scope, begin: datetime | None, end: datetime | None, day: str
) -> list[tuple[Any, Charge]]:
    condition, values = visible(scope, "s.project_id")
    of_time, moments = Ended(begin, end).condition()
    condition, values = f"{condition}{of_time}", [*values, *moments]
    rows = session.rows(
        f"SELECT {day} AS day, s.account, p.name, s.requested_by, c.name, COUNT(*),"
        f" SUM(COALESCE(s.charged_seconds, s.charged_so_far_seconds, {CHARGED} * 60))"
        " FROM computeset s JOIN cluster c ON c.id = s.cluster_id LEFT JOIN project p ON p.id = s.project_id"
        f" WHERE s.ended_at IS NOT NULL AND {condition} GROUP BY day, s.account, p.name, s.requested_by, c.name"
        " ORDER BY day, s.account, p.name, s.requested_by, c.name",
        values,
    )
    return [
        (of_day, Charge(account, project, user, name, sets, int(seconds)))
        for of_day, account, project, user, name, sets, seconds in rows
    ]
