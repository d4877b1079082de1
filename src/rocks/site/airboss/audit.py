"""What owners of virtual clusters asked: each request in the system log, each signed change in the audit log, too."""

from __future__ import annotations

import contextlib
import syslog
import threading
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import RocksError
from rocks.core.terminal import one_line
from rocks.database.connection import Database
from rocks.site.airboss.rules import REFUSALS_SECONDS, Refusals
from rocks.trust.audit import AuditRecord, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.settings import Settings

_LONGEST = 2000


class OwnerCall(NamedTuple):
    """A request of an owner as it is recorded; without a `key`, nothing of it is proven.

    `key` is the fingerprint of the key that signed. `address` is the client's.
    """

    address: str
    key: str = ""
    cluster: str = ""
    what: str = ""
    hosts: tuple[str, ...] = ()
    nonce: str = ""


def log_call(call: OwnerCall, outcome: str) -> None:
    """Record a request and its outcome, or how it went on, in the system log."""
    parts = {
        "address": call.address,
        "key": call.key[:16],
        "cluster": call.cluster,
        "request": call.nonce[:8],
        "what": " ".join((call.what, *call.hosts)).strip(),
        "outcome": outcome,
    }
    text = " ".join(f"{name}={one_line(value)!r}" for name, value in parts.items() if value)
    syslog.openlog("rocks-airboss", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, text[:_LONGEST])


def record_machines(
    database: Database, call: OwnerCall, clusters: Sequence[str], outcomes: Mapping[str, int | None]
) -> None:
    """An entry in the audit log for each machine of one request, with its exit status; None while it is at work.

    All in one transaction. The machines are switched already: an error is in the system log only.
    """
    try:
        for name, status in outcomes.items():
            record = audit_record(database, call._replace(hosts=(name,)), clusters)
            if status is not None:
                record.set_outcome(status)
            record.add()
        database.commit()
    except RocksError as error:
        log_call(call, f"the machines are not in the audit log: {error}")


def audit_record(database: Database, call: OwnerCall, clusters: Sequence[str]) -> AuditRecord:
    """The record of a signed request in the audit log. `clusters` are those of the key."""
    return AuditRecord(database, Event("control", _owner(clusters), call.address, _action(call)))


class _Refused(NamedTuple):
    call: OwnerCall
    clusters: Sequence[str]
    error: RocksError

    def event(self, count: int) -> Event:
        """The event of so many requests, of which this is the last."""
        action = f"{count} more refused, the last: {_action(self.call)}"
        return Event("control", _owner(self.clusters), self.call.address, action)


class RefusedCalls:
    """Bounds the entries of refused requests in the audit log: one for each key and minute; the system log has all."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._settings, self._log = settings, log
        self._lock = threading.Lock()
        self._refusals: Refusals[_Refused] = Refusals()
        self._has_timer = False

    def is_first(self, call: OwnerCall, clusters: Sequence[str], error: RocksError) -> bool:
        """Whether the caller is to record the request; if not, it is counted, and the number recorded in a minute."""
        with self._lock:
            is_first = self._refusals.is_first(call.key, _Refused(call, clusters, error), monotonic_seconds())
            if not self._has_timer:
                self._begin_timer()
        return is_first

    def record_due(self) -> None:
        """Record the numbers of those whose minute is over."""
        with self._lock:
            due = self._refusals.take_due(monotonic_seconds())
        if not due:
            return
        with Database(self._settings) as database:
            for count, refused in due:
                record = AuditRecord(database, refused.event(count))
                record.begin()
                record.fail(refused.error)

    def _begin_timer(self) -> None:
        timer = threading.Timer(REFUSALS_SECONDS, self._end_timer)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread can be started now: the next refusal begins one
            timer.start()
            self._has_timer = True

    def _end_timer(self) -> None:
        try:
            self.record_due()
        except RocksError as error:
            self._log(f"the number of refused requests is not in the audit log: {error}")
        finally:
            with self._lock:
                self._has_timer = False
                if self._refusals:
                    self._begin_timer()


def _owner(clusters: Sequence[str]) -> str:
    return f"owner of {', '.join(clusters)}"


def _action(call: OwnerCall) -> str:
    return f"{' '.join((call.what, *call.hosts))} (request {call.nonce[:8]})"
