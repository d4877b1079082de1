"""Requests to many hosts at once, and what their answers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.fleet import Fleet
from rocks.fleet.settings import CannotAskError, FleetSettings
from rocks.fleet.wire.errors import as_exception
from rocks.fleet.wire.requests import OperationOutcome
from rocks.inventory.address_records import host_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.request import Reply, Request

    Progress = Callable[[int, int, str], None]
    """Called with the number of hosts that have answered, the number of hosts, and the last one."""


def open_fleet(database: Database, names: Sequence[str]) -> Fleet:
    """The fleet of the named hosts, to be used in a `with`; nothing is connected yet.

    While it waits for hosts no transaction is open, unless its caller has uncommitted changes. Names that are not in
    the database are left out. A host whose `ssh_port` is not a port fails when it is asked.
    """
    return Fleet(host_addresses(database, names), FleetSettings(), database.end_reading)


def ask_each(
    database: Database, requests: Mapping[str, Request[Reply]], limit_seconds: float | None = None
) -> Iterator[tuple[str, Reply | RocksError]]:
    """Send each host its request, all at once; yield (host, reply or error) as the replies arrive.

    HostError for a host that is not in the database. `limit_seconds` bounds the wait for each host; with None the
    fleet's own deadlines do.
    """
    with open_fleet(database, list(requests)) as fleet:
        yield from fleet.ask_each(requests, limit_seconds)


def is_silent(answer: object) -> bool:
    """Whether a host gives no answer at all, so that it may be off. One that answers with an error is not silent."""
    return isinstance(answer, HostError) and not isinstance(answer, AnsweringError)


def may_be_off(answer: object) -> bool:
    """Whether the host is silent, or this machine cannot ask it: for one that answers, no message proposes force."""
    return is_silent(answer) or isinstance(answer, CannotAskError)


def error_of(outcome: OperationOutcome | RocksError) -> RocksError | None:
    """Why an operation failed; None when it succeeded."""
    if isinstance(outcome, RocksError):
        return outcome
    return None if outcome.error is None else as_exception(outcome.error)


def notes_of(outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
    """The notes of an operation that succeeded. The error of its host otherwise."""
    if isinstance(outcome, RocksError):
        raise outcome
    if outcome.error is not None:
        raise as_exception(outcome.error)
    return outcome.notes
