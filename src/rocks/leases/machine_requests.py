"""What is asked of hosts about virtual machines; each request carries the fences of its host and the lease epoch.

Decision 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import BugError, RocksError
from rocks.fleet.wire.errors import as_agent_error, as_exception, at_host
from rocks.fleet.wire.facts import FactsRequest, Fence, HostFacts, LeaseEnd
from rocks.fleet.wire.requests import OperationOutcome, PerformRequest
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import present_epoch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.facts import ShapeQuestion
    from rocks.fleet.wire.requests import Operation
    from rocks.inventory.host_requests import Progress


def contact_hosts(
    database: Database,
    fleet: Fleet,
    hosts: Collection[str],
    lease_ends: Mapping[str, Collection[tuple[str, int]]] | None = None,
    limit_seconds: float | None = None,
    epoch: int | None = None,
    asks_leases: bool = False,
    files: Mapping[str, Collection[str]] | None = None,
    shapes: Mapping[str, ShapeQuestion] | None = None,
) -> dict[str, HostFacts | RocksError]:
    """Host → its facts, or the error.

    The requests carry the fences; when all hosts have answered, those that they confirm are deleted. Commits.
    `lease_ends` maps a host to the (name, token) of leases that end there unless their domains are active.
    They also carry a lease epoch, `epoch`, or that of the database; hosts refuse starts under leases of earlier ones.
    `limit_seconds` is that of `ask_each`. `files` maps a host to paths that its facts include, `shapes` to the question
    for its cores and memory.
    """
    if not hosts:
        return {}
    fences = leases.fences_of_hosts(database, list(hosts))
    epoch = present_epoch(database) if epoch is None else epoch
    requests = {
        host: FactsRequest(
            disks=tuple(sorted((files or {}).get(host, ()))),
            fences=tuple(Fence(name, token) for name, token in fences.get(host, ())),
            lease_ends=tuple(LeaseEnd(name, token) for name, token in (lease_ends or {}).get(host, ())),
            epoch=epoch,
            asks_leases=asks_leases,
            shape=(shapes or {}).get(host),
        )
        for host in hosts
    }
    answers: dict[str, HostFacts | RocksError] = dict(fleet.ask_each(requests, limit_seconds))
    # not between two answers: a row that is locked here would stop others for as long as a host is silent
    for host, answer in answers.items():
        if isinstance(answer, HostFacts):
            leases.take_down_fences(database, host, _confirmed(fences, host, answer.fenced))
    database.commit()
    return {host: answers[host] for host in hosts}


def perform_operations(
    database: Database,
    fleet: Fleet,
    operations: Mapping[str, Sequence[Operation]],
    progress: Progress | None = None,
) -> Iterator[tuple[str, OperationOutcome | RocksError]]:
    """(name of the machine, outcome of its operation), as the hosts reply; the host's error where it did not reply.

    `operations` maps a host to its operations, one for each machine. The requests carry epoch and fences as those of
    `contact_hosts` do; commits when hosts confirmed fences. `progress` is called before the first answer, and after
    each.
    """
    hosts = [host for host, of_host in operations.items() if of_host]
    if not hosts:
        return
    fences, epoch = leases.fences_of_hosts(database, hosts), present_epoch(database)
    requests = {
        host: PerformRequest(
            tuple(operations[host]),
            fences=tuple(Fence(name, token) for name, token in fences.get(host, ())),
            epoch=epoch,
        )
        for host in hosts
    }
    fenced: dict[str, tuple[str, ...]] = {}
    if progress is not None:
        progress(0, len(requests), "")
    for answered, (host, answer) in enumerate(fleet.ask_each(requests), start=1):
        if progress is not None:
            progress(answered, len(requests), host)
        outcomes: dict[str, OperationOutcome] = {}
        if not isinstance(answer, RocksError):
            outcomes = {o.name: _named(host, o) for o in answer.outcomes}
            fenced[host] = answer.fenced
        error = answer if isinstance(answer, RocksError) else BugError(f"{host} did not report the outcome")
        for operation in operations[host]:
            yield operation.name, outcomes.get(operation.name, error)
    # not between two answers, as in `contact_hosts`
    if any(fenced.values()):
        for host, names in fenced.items():
            leases.take_down_fences(database, host, _confirmed(fences, host, names))
        database.commit()


def perform_one(database: Database, host: str, operation: Operation) -> OperationOutcome | RocksError:
    """The outcome of one operation on the host, or the host's error."""
    with open_fleet(database, [host]) as fleet:
        ((_, outcome),) = perform_operations(database, fleet, {host: [operation]})
    return outcome


def _confirmed(
    sent: Mapping[str, Sequence[tuple[str, int]]], host: str, names: Collection[str]
) -> set[tuple[str, int]]:
    """The fences that were sent to the host and that it has confirmed."""
    return {fence for fence in sent.get(host, ()) if fence[0] in names}


def _named(host: str, outcome: OperationOutcome) -> OperationOutcome:
    """The outcome; an error of the host names it."""
    if outcome.error is None:
        return outcome
    return replace(outcome, error=as_agent_error(at_host(host, as_exception(outcome.error))))
