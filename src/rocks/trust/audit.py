"""The audit log: entries that are added, never changed, each with a digest over the one before it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import syslog
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks import __version__
from rocks.core.errors import BugError, BusyError, IncoherentError, RocksError, ToolError, code_of
from rocks.core.terminal import one_line
from rocks.core.version import ROLL_NAME
from rocks.trust.audit_entries import START, Entry, Head, StoredEntry, added_again, fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


# What is written to the audit log, for commands and for every other source of changes.
#
# A change and its entry are one transaction. The entry is written by the first commit that has changes, or before a
# host is asked; the outcome, where it is known only later, is an entry of its own. So neither a kill nor a lost host
# leaves a change without its entry. Each entry also goes to the journal, with the digest that the log had then.


INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""

_SOCKET = "/run/systemd/journal/socket"
"""Where journald receives entries; `ROCKS_JOURNAL_SOCKET` overrides it."""

_INFO, _WARNING = 6, 4
"""Priorities of syslog(3)."""

_IDENTIFIER = "rocksaudit"
_SEND_SECONDS = 1.0
_LONGEST_BYTES = 60_000
"""Of one field: a datagram of the kernel's default size takes them all."""


class Event(NamedTuple):
    """A change and its cause. Secrets must be hidden already (`secret_names.without_secrets`)."""

    source: str
    """`command`, `control` (owners' remote control), `service` or `nucleus`."""
    person: str
    """The person behind it, or the owner: a name that an operator recognises."""
    origin: str
    """From where: an address, a terminal; '' when unknown."""
    action: str
    """What is done: a command line without `rocks`."""
    account: str = ""
    """The account with whose rights it is done, if it has one on the frontend."""
    roll: str = ROLL_NAME
    version: str = __version__


class AuditRecord:
    """The entries of one event: at most one when it begins, or when its changes are committed, and its outcome."""

    def __init__(self, database: Database, event: Event) -> None:
        self._database = database
        self._event = event
        self._begun = False
        self._first: int | None = None
        self._outcome: tuple[int | None, str] = (None, "")
        self._recorded: tuple[int | None, str] = (None, "")

    def begin(self) -> None:
        """The next commit will write the entry, and so will an `end_reading` before a host is asked."""
        self._begun = True
        self._database.at_next_commit(self.add)

    @property
    def is_written(self) -> bool:
        """Whether the log has the entry."""
        return self._first is not None

    def set_outcome(self, exit_status: int) -> None:
        """The outcome, before the last commit: an entry that this commit writes has it."""
        self._outcome = (exit_status, "")

    def complete(self) -> None:
        """Write what is missing: the outcome, or the entry of an event that changed nothing in the database.

        Where that is impossible, the journal has it; no error is raised, since the changes are done.
        """
        if not self._begun or (self.is_written and self._recorded == self._outcome):
            return
        # Ctrl-C would leave the entry without an outcome; it interrupts the main thread only, which alone can ignore it
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
        try:
            if not self._database.is_connected:
                self._database.close()  # a lost connection is not made again by itself
            self._database.at_next_commit(None)
            self.add()
            self._database.commit()
        except (Exception, KeyboardInterrupt) as error:  # the driver may be missing
            with contextlib.suppress(RocksError):  # a lost connection has rolled back everything
                self._database.rollback()
            self._report_missing(error)
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def fail(self, error: BaseException) -> None:
        """As `complete`, with an error as the outcome; the caller has rolled back."""
        if isinstance(error, RocksError):
            code = code_of(error)
            self._outcome = (error.exit_status, error.family + (f"/{code}" if code else ""))
        elif isinstance(error, KeyboardInterrupt):
            self._outcome = (INTERRUPTED, "interrupted")
        else:
            self._outcome = (BugError().exit_status, BugError.family)
        self.complete()

    def add(self) -> None:
        """Add the entry with its outcome to the open transaction, which the caller commits: for many events at once."""
        entry = self._entry()
        head = append_entry(self._database, entry)
        self._database.after_commit(lambda: self._note(entry, head))

    def _entry(self) -> Entry:
        event, (status, error) = self._event, self._outcome
        now = time.time()
        moment = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}"
        texts = (event.person, event.account, event.origin, event.action)
        if self._first is not None:
            texts = ("", "", "", "")
        return Entry(moment, self._first, event.source, *texts, status, error, event.roll, event.version)

    def _note(self, entry: Entry, head: Head) -> None:
        """After the commit: remember the entry, and copy it to the journal."""
        self._recorded = (entry.exit_status, entry.error)
        if self._first is None:
            self._first = head.number
        _send_entry(
            f"audit {head.number} {head.digest}: {self._summary()}",
            {**self._fields(), "ROCKS_AUDIT_NUMBER": head.number, "ROCKS_AUDIT_DIGEST": head.digest},
        )

    def _report_missing(self, error: BaseException) -> None:
        why = one_line(str(error) or type(error).__name__)
        _send_entry(
            f"not in the audit log: {self._summary()}: {why}",
            {**self._fields(), "ROCKS_AUDIT_MISSING": "1", "ROCKS_AUDIT_WHY": why},
            _WARNING,
        )

    def _summary(self) -> str:
        status, error = self._outcome
        outcome = (
            "has begun" if status is None else f"exit status {status}" + (f" ({error})" if error else "")
        )
        return one_line(
            f"{self._event.person} from {self._event.origin or '-'}: {self._event.action}: {outcome}"
        )

    def _fields(self) -> dict[str, object]:
        event, (status, error) = self._event, self._outcome
        return {
            "ROCKS_AUDIT_CONCERNS": self._first,
            "ROCKS_SOURCE": event.source,
            "ROCKS_PERSON": event.person,
            "ROCKS_ACCOUNT": event.account,
            "ROCKS_ORIGIN": event.origin,
            "ROCKS_ACTION": event.action,
            "ROCKS_EXIT_STATUS": status,
            "ROCKS_ERROR": error,
            "ROCKS_ROLL": event.roll,
            "ROCKS_VERSION": event.version,
        }


def _send_entry(message: str, fields: Mapping[str, object], priority: int = _INFO) -> None:
    """Write an entry; names of fields are upper case. Where no journald receives it, syslog gets the message.

    By journald's native protocol (systemd: "Native Journal Protocol").
    """
    texts = {
        "MESSAGE": message,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": _IDENTIFIER,
        **{name: value for name, value in fields.items() if value not in (None, "")},
    }
    entry = b"".join(_field(name, str(value)) for name, value in texts.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto(entry, os.environ.get("ROCKS_JOURNAL_SOCKET", _SOCKET))
    except OSError:
        syslog.openlog(_IDENTIFIER, syslog.LOG_PID, syslog.LOG_AUTH)
        syslog.syslog(priority, message)


def _field(name: str, value: str) -> bytes:
    """A field with the length of its value, so that the value may have line feeds."""
    content = value.encode("utf-8", "replace")[:_LONGEST_BYTES]
    return name.encode("ascii") + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
