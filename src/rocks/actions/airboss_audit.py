"""What owners of virtual clusters asked: each request in the system log, each signed one in the audit log, too."""

from __future__ import annotations

import syslog
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.audit import AuditRecord, Event
from rocks.errors import RocksError
from rocks.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database

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
    owner = f"owner of {', '.join(clusters)}"
    action = " ".join((call.what, *call.hosts))
    return AuditRecord(
        database, Event("control", owner, call.address, f"{action} (request {call.nonce[:8]})")
    )
