"""Facts from many hosts and deeds on them, with the fences that every contact carries (decision D6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database import leases
from rocks.errors import BugError, HostError, RocksError
from rocks.wire.agent import OperationOutcome, PerformReply, PerformRequest
from rocks.wire.errors import as_exception
from rocks.wire.facts import DiskPlace, FactsRequest, Fence, HostFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from rocks.cluster.records import VirtualMachine
    from rocks.database.connection import Database
    from rocks.hosts.fleet import Fleet
    from rocks.wire.agent import Operation


def ask_facts(
    database: Database,
    fleet: Fleet,
    hosts: Collection[str],
    vms: Iterable[VirtualMachine] = (),
    limit_seconds: float | None = None,
) -> dict[str, HostFacts | RocksError]:
    """Host → its facts, or why it gave none; the disks of `vms` are among the facts of their containers.

    Fences go with the question; those that a host has put up are struck off in the caller's transaction.
    `limit_seconds` bounds the waiting for each host; None leaves it to the fleet's deadlines.
    """
    if not hosts:
        return {}
    places: dict[str, dict[str, DiskPlace]] = {host: {} for host in hosts}
    for vm in vms:
        if vm.container is not None and vm.container.name in places:
            places[vm.container.name].update({disk.path: DiskPlace(disk.path) for disk in vm.disks})
    fences = leases.fences_of_hosts(database, list(hosts))
    requests = {
        host: FactsRequest(
            disks=tuple(places[host].values()),
            fences=tuple(Fence(name, token) for name, token in fences.get(host, ())),
        )
        for host in hosts
        if host in fleet.names
    }
    answers: dict[str, HostFacts | RocksError] = {
        host: HostError(f"{host} is not in the cluster database any more, so it cannot be asked")
        for host in hosts
    }
    for host, answer in fleet.ask_each(requests, limit_seconds):
        if not isinstance(answer, HostFacts | RocksError):
            answer = BugError(f"{host} answered a question for facts with {type(answer).__name__}")
        elif isinstance(answer, HostFacts):
            leases.take_down_fences(database, host, answer.fenced)
        answers[host] = answer
    return answers


def perform_operations(
    fleet: Fleet, operations: Mapping[str, Sequence[Operation]]
) -> Iterator[tuple[str, OperationOutcome | RocksError]]:
    """(machine's name, how its deed ended), as the hosts answer; the host's error where it gave no answer.

    `operations` maps a host to what is asked of it, one deed for each machine.
    """
    requests = {host: PerformRequest(tuple(wanted)) for host, wanted in operations.items() if wanted}
    for host, answer in fleet.ask_each(requests):
        told = {o.name: o for o in answer.outcomes} if isinstance(answer, PerformReply) else {}
        error = answer if isinstance(answer, RocksError) else BugError(f"{host} did not say how it ended")
        for operation in operations[host]:
            yield operation.name, told.get(operation.name, error)


def error_of(outcome: OperationOutcome | RocksError) -> RocksError | None:
    """Why a deed failed; None when it was done."""
    if isinstance(outcome, RocksError):
        return outcome
    return None if outcome.error is None else as_exception(outcome.error)
