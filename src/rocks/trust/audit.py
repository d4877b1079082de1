"""What is written to the audit log, for commands and for every other source of changes.

A change and its entry are one transaction. The entry is written by the first commit that has changes, or before a host
is asked; the outcome, where it is known only later, is an entry of its own. So neither a kill nor a lost host leaves a
change without its entry. Each entry also goes to the journal, with the digest that the log had then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import syslog
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from rocks import __version__
from rocks.core.errors import BugError, RocksError, code_of
from rocks.core.terminal import one_line
from rocks.core.version import ROLL_NAME
from rocks.trust.audit_entries import Entry, Head
from rocks.trust.audit_records import append_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.database.connection import Database

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
