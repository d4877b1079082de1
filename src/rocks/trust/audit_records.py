"""The audit log: entries that are added, never changed, each with a digest over the one before it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import BusyError, IncoherentError, ToolError
from rocks.trust.audit_entries import START, Entry, Head, StoredEntry, added_again, fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.connection import Database

_COLUMNS = "Time, Concerns, Source, Person, Account, Origin, Action, ExitStatus, Error, Roll, Version"
_READ = f"Number, CAST(Time AS CHAR), {_COLUMNS.partition(', ')[2]}, Digest"
_PAGE = 5000
_ROWS_OF_A_STATEMENT = 100
_CHAIN = "sec_audit_chain"


class AuditFilter(NamedTuple):
    """Which events are read; '' and None select all."""

    person: str = ""
    """A name or a pattern with %, compared without case."""
    command: str = ""
    """The beginning of the command, or a pattern with %."""
    since: str = ""
    """UTC, `2026-11-22 03:49:29`; entries of that moment are included."""
    until: str = ""
    source: str = ""
    failed: bool = False
    """Only entries whose outcome is not 0, or unknown."""
    most: int | None = None
    """Only so many, the newest."""


def append_entry(database: Database, entry: Entry) -> Head:
    """Add an entry in the caller's transaction; returns its number and digest.

    It holds the head of the log until the commit, which should follow at once: commands wait for each other here.
    IncoherentError when the log is damaged.
    """
    fitting = fit(entry)
    database.note_change()
    try:
        # a trigger sets number and digest, and moves the head
        added = database.rows(
            f"INSERT INTO sec_audit (Number, {_COLUMNS}, Digest)"
            f" VALUES (0, {', '.join(['%s'] * len(fitting))}, SHA2(%s, 256)) RETURNING Number, Digest",
            (*fitting, fitting.content()),
        )
        if int(added[0][0]) > 0:
            return Head(int(added[0][0]), str(added[0][1]))
    except (ToolError, BusyError):  # busy: an entry has the number already, or another command is at work
        if not find_damage(database):
            raise
    raise IncoherentError(
        f"{find_damage(database)}, and no change is made without an entry in the audit log: rocks update database"
        " repairs it; then compare it with the journal: rocks check audit"
    )


def find_damage(database: Database) -> str:
    """Why no entry can be added to the log; '' for a log to which one can be added."""
    here = "SELECT COUNT(*) FROM information_schema.{} = DATABASE() AND {} IN (%s, %s)"
    names = ("sec_audit", "sec_audit_head")
    if database.rows(here.format("TABLES WHERE TABLE_SCHEMA", "TABLE_NAME"), names) != [(2,)]:
        return "a table of the audit log was removed (sec_audit, sec_audit_head)"
    if database.rows(here.format("TRIGGERS WHERE TRIGGER_SCHEMA", "TRIGGER_NAME"), (_CHAIN, "")) != [(1,)]:
        return f"the trigger of the audit log was removed ({_CHAIN})"
    head, last = read_head(database)
    if head is None:
        return "the head of the audit log was removed (the row of sec_audit_head)"
    if head.number < last:
        return f"the head of the audit log was changed: it names entry {head.number}, and the last entry is {last}"
    return ""


def repair_log(database: Database) -> str:
    """Have entries follow the last one that there is; returns what the damage was, '' without any.

    What was removed or altered stays so, and is found by `chain_faults`. The definitions that this needs commit.
    """
    damage = find_damage(database)
    if damage:
        from rocks.database.migrate import load_migrations  # only a repair pays for it

        for statement in next(one for one in load_migrations() if one.name == "audit").statements:
            database.execute(statement)
        database.execute(
            "UPDATE sec_audit_head h JOIN (SELECT Number, Digest FROM sec_audit ORDER BY Number DESC LIMIT 1) l"
            " SET h.Number = l.Number, h.Digest = l.Digest WHERE h.Number < l.Number"
        )
    return damage


def read_head(database: Database) -> tuple[Head | None, int]:
    """The head of the log, None when its row is missing; and the number of the last entry at the same moment."""
    head, number = (
        "SELECT {} FROM sec_audit_head WHERE ID = 1",
        "(SELECT COALESCE(MAX(Number), 0) FROM sec_audit)",
    )
    ((found, digest, last),) = database.rows(
        f"SELECT ({head.format('Number')}), ({head.format('Digest')}), {number}"
    )
    return (None if found is None else Head(int(found), str(digest))), int(last)


def read_chain(database: Database, up_to: int) -> Iterator[StoredEntry]:
    """The entries in the order of their numbers, up to that one; a part of the log is in memory at a time."""
    last = -1
    while True:
        rows = database.rows(
            f"SELECT {_READ} FROM sec_audit WHERE Number > %s AND Number <= %s ORDER BY Number LIMIT {_PAGE}",
            (last, up_to),
        )
        for row in rows:
            yield StoredEntry(int(row[0]), Entry(*row[1:-1]), str(row[-1]))
        if len(rows) < _PAGE:
            return
        last = int(rows[-1][0])


def copy_entries(database: Database, copy: Database) -> None:
    """Add the entries of another database's log to this one, which has none; its head must be copied afterwards.

    A trigger computes the digests: the same ones, unless an entry was altered there.
    """
    database.execute("UPDATE sec_audit_head SET Number = %s, Digest = %s", START)
    entries = added_again(read_chain(copy, read_head(copy)[1]))
    while part := list(islice(entries, _ROWS_OF_A_STATEMENT)):
        database.insert_many(
            f"INSERT INTO sec_audit (Number, {_COLUMNS}, Digest) VALUES",
            [(0, *entry, digest) for entry, digest in part],
        )


def read_events(database: Database, which: AuditFilter) -> list[tuple[object, ...]]:
    """Events with their outcomes, which may come from later entries, oldest first.

    (number, time, person, origin, exit status, error, action, when the outcome was recorded or '', source, account,
    roll, version).
    """
    clauses: list[str] = ["a.Concerns IS NULL"]
    values: list[Any] = []
    for column, operator, value in (
        ("a.Person", "LIKE", which.person),
        ("a.Action", "LIKE", which.command and f"{which.command}%"),
        ("a.Time", ">=", which.since),
        ("a.Time", "<=", which.until),
        ("a.Source", "=", which.source),
    ):
        if value:
            collated = " COLLATE utf8mb4_general_ci" if operator == "LIKE" else ""
            clauses.append(f"{column} {operator} %s{collated}")
            # % is the only wildcard of names in this system
            values.append(value.replace("\\", "\\\\").replace("_", "\\_") if operator == "LIKE" else value)
    if which.failed:
        clauses.append("COALESCE(e.ExitStatus, a.ExitStatus, 1) <> 0")
    limit = "" if which.most is None else f" LIMIT {int(which.most)}"
    rows = database.rows(
        "SELECT a.Number, CAST(a.Time AS CHAR), a.Person, a.Origin, COALESCE(e.ExitStatus, a.ExitStatus),"
        " IF(e.Number IS NULL, a.Error, e.Error), a.Action,"
        " IF(e.Number IS NULL AND a.ExitStatus IS NULL, '', CAST(COALESCE(e.Time, a.Time) AS CHAR)),"
        " a.Source, a.Account, a.Roll, a.Version"
        " FROM sec_audit a LEFT JOIN sec_audit e ON e.Concerns = a.Number"
        f" WHERE {' AND '.join(clauses)} ORDER BY a.Number DESC{limit}",
        values,
    )
    return rows[::-1]


def count_entries(database: Database) -> tuple[int, int]:
    """The number of entries, and how many commands of the last day have no outcome: at work, or killed."""
    ((entries, unknown),) = database.rows(
        "SELECT (SELECT Number FROM sec_audit_head WHERE ID = 1),"
        " (SELECT COUNT(*) FROM sec_audit a LEFT JOIN sec_audit e ON e.Concerns = a.Number"
        " WHERE a.Concerns IS NULL AND a.ExitStatus IS NULL AND e.Number IS NULL"
        " AND a.Time > UTC_TIMESTAMP() - INTERVAL 1 DAY)"
    )
    return int(entries or 0), int(unknown)
