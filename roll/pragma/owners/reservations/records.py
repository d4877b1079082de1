"""Sites that can be reserved, their reservations, and the intervals of these."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror import identity
from nucleus.mirror.columns import columns_of, from_json, in_one, moment_of, placeholders
from owners.reservations.rules import Share, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session
    from nucleus.records import JsonObject, Operation, Scope

MAX_ENDED = 1000
"""Of a user's reservations that have ended: so many are listed, and older ones are forgotten."""

RESERVATION_DAYS = 90
"""How long a reservation is listed after its last interval."""

WAITING, STARTING, RUNNING, STOPPING = "waiting", "starting", "running", "stopping"
STOPPED, CANCELLED, FAILED = "stopped", "cancelled", "failed"
LIVING = (WAITING, STARTING, RUNNING, STOPPING)
"""States of an interval that uses its site."""


class Site(NamedTuple):
    """Something that can be reserved. `login`: USER@HOST, None: this site. Members of the project administer it."""

    id: int
    name: str
    cpus: int
    memory_gb: int
    has_ent: bool
    is_available: bool
    login: str | None
    project_id: int | None


class Interval(NamedTuple):
    """One time of a reservation; `cluster` and `address` are those of its virtual cluster."""

    id: int
    begins_at: datetime
    ends_at: datetime
    state: str
    reason: str | None
    cluster: str | None
    address: str | None


class Reservation(NamedTuple):
    """What somebody has reserved; `vc` is a cluster image."""

    id: int
    site: str
    owner: str
    vc: str
    cpus: int
    memory_gb: int
    has_ent: bool
    title: str
    description: str
    created: datetime
    intervals: tuple[Interval, ...]


class Living(NamedTuple):
    """An interval as the controller has it."""

    id: int
    site_id: int
    begins_at: datetime
    ends_at: datetime
    state: str
    version: int
    is_cancelled: bool
    reason: str | None
    notes: JsonObject


class Requested(NamedTuple):
    """What is booted for an interval; `login`: that of its site; `seconds_left`: until its end.

    `request`: the name by which the site knows its cluster.
    """

    id: int
    request: str
    vc: str
    cpus: int
    public_key: str
    login: str | None
    has_ent: bool
    seconds_left: int


class Mailed(NamedTuple):
    """What a mail about an interval says; `email`: its owner's address, '' where there is none."""

    reservation: int
    site: str
    vc: str
    begins_at: datetime
    ends_at: datetime
    reason: str | None
    cluster: str | None
    address: str | None
    email: str


_SITE = (
    "SELECT s.id, s.name, s.cpus, s.memory_gb, s.has_ent, s.is_available, s.address, s.project_id"
    " FROM reservation_site s"
)
_INTERVAL_COLUMNS = columns_of("i", Interval._fields)
_FROM_INTERVALS = (
    "FROM reservation_interval i JOIN reservation r ON r.id = i.reservation_id"
    " JOIN reservation_site s ON s.id = r.site_id"
)
_IS_LIVING = f"i.state IN ({placeholders(LIVING)})"
_ENDS = "IF(i.state = %s, i.ends_at, GREATEST(i.ends_at, UTC_TIMESTAMP(3) + INTERVAL 10 MINUTE))"
"""What runs beyond its end uses the site until it is gone."""


def list_sites(session: Session) -> list[Site]:
    """All sites, by name."""
    return [Site(*row) for row in session.rows(f"{_SITE} ORDER BY s.name")]


def find_site(session: Session, name: str, *, is_locked: bool = False) -> Site | None:
    """The site; locked: who reserves it, or changes it, waits until the end of the transaction."""
    row = session.row(f"{_SITE} WHERE s.name = %s{' FOR UPDATE' if is_locked else ''}", (name,))
    return Site(*row) if row else None


def shares_of(session: Session, site_id: int, span: Span) -> list[Share]:
    """What is reserved of a site in the span."""
    # in this order: by its statistics, the server may read the intervals of all sites first, which takes twice as long
    rows = session.column(
        f"SELECT {in_one(f'i.begins_at, {_ENDS}, r.cpus, r.memory_gb')} FROM reservation r"
        f" STRAIGHT_JOIN reservation_interval i ON i.reservation_id = r.id WHERE r.site_id = %s"
        f" AND i.begins_at < %s AND {_ENDS} > %s AND {_IS_LIVING}",
        (WAITING, site_id, span.end, WAITING, span.begin, *LIVING),
    )
    found = from_json(f"[{','.join(rows)}]")  # a call for each row takes longer
    return [_share(*values) for values in found]


def _share(begin: str, end: str, cpus: int, memory_gb: int) -> Share:
    span: list[Any] = [moment_of(begin), moment_of(end)]
    return Share(Span(*span), cpus, memory_gb)


def insert_reservation(
    session: Session, columns: dict[str, Any], spans: Sequence[Span]
) -> tuple[int, dict[int, Span]]:
    """Store a reservation with its intervals: its number, and each interval's.

    Of its user's that have ended the last ones are kept.
    """
    ended = session.column(
        "SELECT r.id FROM reservation r WHERE r.user_id = %s AND NOT EXISTS (SELECT 1 FROM reservation_interval i"
        f" WHERE i.reservation_id = r.id AND {_IS_LIVING}) ORDER BY r.id DESC LIMIT 1000 OFFSET %s",
        (columns["user_id"], *LIVING, MAX_ENDED),
    )
    session.delete("reservation", id=ended)
    number = session.insert("reservation", columns)
    intervals = {}
    for span in spans:
        row = {
            "reservation_id": number, "begins_at": span.begin, "ends_at": span.end,
            "request": f"nucleus-{secrets.token_hex(8)}",
        }  # fmt: skip
        intervals[session.insert("reservation_interval", row)] = span
    return number, intervals


def find_reservation(session: Session, scope: Scope, number: int) -> Reservation | None:
    """One of those that the asker sees; None when there is none."""
    found = list_reservations(session, scope, after=number - 1, limit=1)
    return found[0] if found and found[0].id == number else None


def list_reservations(
    session: Session, scope: Scope, *, after: int = 0, limit: int | None = None
) -> list[Reservation]:
    """Those that the asker has made, and those of the sites that the asker administers; by number, after a number."""
    condition, values = _visible(scope)
    part = "" if limit is None else f" LIMIT {limit:d}"
    rows = session.rows(
        "SELECT r.id, s.name, u.username, r.vc, r.cpus, r.memory_gb, r.has_ent, r.title, r.description,"
        " r.created FROM reservation r JOIN reservation_site s ON s.id = r.site_id JOIN user u ON u.id = r.user_id"
        f" WHERE {condition} AND r.id > %s ORDER BY r.id{part}",
        [*values, after],
    )
    numbers = [row[0] for row in rows]
    intervals = dict[int, list[Interval]]((one, []) for one in numbers)
    for owner, *values in session.rows(
        f"SELECT i.reservation_id, {_INTERVAL_COLUMNS} FROM reservation_interval i"
        f" WHERE i.reservation_id IN ({placeholders(numbers)}) ORDER BY i.begins_at",
        numbers,
    ):
        intervals[owner].append(Interval(*values))
    found: list[tuple[Any, ...]] = [(*row, tuple(intervals[row[0]])) for row in rows]
    return [Reservation(*one) for one in found]


def _visible(scope: Scope) -> tuple[str, list[Any]]:
    if scope.is_operator:
        return "TRUE", []
    projects = sorted(scope.projects)
    return f"(r.user_id = %s OR s.project_id IN ({placeholders(projects)}))", [scope.user_id, *projects]


def cancel(session: Session, number: int, reason: str | None) -> list[int]:
    """Cancel what is left of a reservation: intervals that wait end now, for the reason; those that run are stopped.

    The numbers of those that have waited.
    """
    waiting = session.column(
        "SELECT id FROM reservation_interval WHERE reservation_id = %s AND state = %s FOR UPDATE",
        (number, WAITING),
    )
    also = "version = version + 1"
    session.update(
        "reservation_interval", {"is_cancelled": True}, also, reservation_id=number, state=list(LIVING)
    )
    session.update("reservation_interval", {"state": CANCELLED, "reason": reason}, id=waiting)
    return waiting


def fail_all(session: Session, site_id: int) -> dict[int, int]:
    """End all intervals of a site that is gone, whatever runs there: interval → the version that it had."""
    rows = session.rows(
        f"SELECT i.id, i.version {_FROM_INTERVALS} WHERE {_IS_LIVING} AND s.id = %s FOR UPDATE",
        (*LIVING, site_id),
    )
    versions = dict(rows)
    ended = {"state": FAILED, "reason": "the site is gone"}
    session.update("reservation_interval", ended, "version = version + 1", id=list(versions))
    return versions


def living_intervals(session: Session) -> list[int]:
    """The intervals that have not ended, and begin within an hour."""
    return session.column(
        f"SELECT i.id {_FROM_INTERVALS} WHERE {_IS_LIVING}"
        " AND (i.state <> %s OR i.begins_at < UTC_TIMESTAMP(3) + INTERVAL 1 HOUR) ORDER BY i.begins_at",
        (*LIVING, WAITING),
    )


def lock_living(session: Session) -> dict[int, str]:
    """Lock this site; its intervals that have not ended, with their states."""
    session.rows("SELECT id FROM reservation_site WHERE address IS NULL FOR UPDATE")
    return dict(
        session.rows(
            f"SELECT i.id, i.state {_FROM_INTERVALS} WHERE {_IS_LIVING} AND s.address IS NULL", LIVING
        )
    )


def lock_interval(session: Session, number: int) -> Living | None:
    """An interval until the end of the transaction; None when it has ended. That of a disabled owner is cancelled.

    Its site is not locked: who reserves it may hold it for long.
    """
    session.row("SELECT id FROM reservation_interval WHERE id = %s FOR UPDATE", (number,))
    columns = (
        "i.id, r.site_id, i.begins_at, i.ends_at, i.state, i.version,"
        " i.is_cancelled OR NOT (SELECT u.is_active FROM user u WHERE u.id = r.user_id), i.reason, i.notes"
    )
    row = session.row(
        f"SELECT {columns} {_FROM_INTERVALS} WHERE {_IS_LIVING} AND i.id = %s", (*LIVING, number)
    )
    values: list[Any] = [] if row is None else [*row[:-1], from_json(row[-1])]
    return Living(*values) if values else None


def requested_of(session: Session, number: int) -> Requested | None:
    """What an interval is for; None when there is none."""
    row = session.row(
        "SELECT i.id, i.request, r.vc, r.cpus, r.public_key, s.address, r.has_ent,"
        f" TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), i.ends_at) {_FROM_INTERVALS} WHERE i.id = %s",
        (number,),
    )
    return None if row is None else Requested(*row)


def mailed_of(session: Session, number: int) -> Mailed | None:
    """What a mail about the interval says; None when there is none."""
    row = session.row(
        "SELECT r.id, s.name, r.vc, i.begins_at, i.ends_at, i.reason, i.cluster, i.address,"
        f" (SELECT u.email FROM user u WHERE u.id = r.user_id) {_FROM_INTERVALS} WHERE i.id = %s",
        (number,),
    )
    return None if row is None else Mailed(*row)


def running_operations(session: Session, operation: Operation) -> tuple[int, int]:
    """How many operations of intervals run, besides this one: of the same site, and of all sites."""
    (same, every) = session.row(
        "SELECT COUNT(IF(JSON_VALUE(arguments, '$.site') = %s, 1, NULL)), COUNT(*) FROM operation"
        " WHERE state = 'running' AND id <> %s AND kind LIKE '%%\\_reservation'",
        (operation.arguments["site"], operation.id),
    ) or (0, 0)
    return int(same), int(every)


def count_living(session: Session, user_id: int) -> int:
    """How many intervals of a user have not ended.

    Locks the user's row: a request of the same user to another site waits, and counts those of this one, too.
    """
    identity.lock_user(session, user_id)
    return int(
        session.value(
            f"SELECT COUNT(*) {_FROM_INTERVALS} WHERE {_IS_LIVING} AND r.user_id = %s", (*LIVING, user_id)
        )
    )


def forget_ended(session: Session) -> None:
    """Remove reservations that were made, and whose last interval has ended, more than `RESERVATION_DAYS` ago.

    Intervals that were cancelled before they began do not count.
    """
    long_ago = f"UTC_TIMESTAMP(3) - INTERVAL {RESERVATION_DAYS} DAY"
    numbers = session.column(
        f"SELECT r.id FROM reservation r WHERE r.created < {long_ago} AND NOT EXISTS (SELECT 1"
        f" FROM reservation_interval i WHERE i.reservation_id = r.id"
        f" AND ({_IS_LIVING} OR (i.state <> %s AND i.ends_at > {long_ago}))) LIMIT 1000",
        (*LIVING, CANCELLED),
    )
    session.delete("reservation", id=numbers)


def living_reservations(session: Session, site_id: int) -> list[int]:
    """The reservations of a site with an interval that has not ended."""
    return session.column(
        f"SELECT DISTINCT r.id {_FROM_INTERVALS} WHERE {_IS_LIVING} AND s.id = %s ORDER BY r.id",
        (*LIVING, site_id),
    )


def remove_site(session: Session, site_id: int) -> None:
    """Forget a site and its reservations, all of which have ended."""
    session.delete("reservation", site_id=site_id)
    session.delete("reservation_site", id=site_id)


def alarms(session: Session) -> list[str]:
    """A sentence for each interval of the last day that has failed, or that is still `stopping` after its end."""
    rows = session.rows(
        f"SELECT r.id, s.name, i.state, IFNULL(i.reason, '') {_FROM_INTERVALS} WHERE"
        " (i.state = %s AND i.ends_at > UTC_TIMESTAMP(3) - INTERVAL 1 DAY)"
        " OR (i.state = %s AND i.ends_at < UTC_TIMESTAMP(3)) ORDER BY i.id",
        (FAILED, STOPPING),
    )
    late = "stays stopping after its end; journalctl -u rocks-nucleus.service says whether the site answers"
    return [
        f"reservation {number} of {site} {f'has failed: {reason}' if state == FAILED else late}"
        for number, site, state, reason in rows
    ]
