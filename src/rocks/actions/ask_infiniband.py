"""Ask hosts for their InfiniBand adapters: to record their ports, or to compare them with the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.reach_hosts import open_fleet
from rocks.cluster.infiniband_check import Checked, check_host, ports_of_facts
from rocks.cluster.pkeys import FULL_BIT
from rocks.database import ib_ports, partitions
from rocks.errors import BugError, RocksError, StateError, UserError
from rocks.wire.infiniband import InfinibandFacts, InfinibandRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.cluster.partition_plan import Port
    from rocks.database.connection import Database


def record_ports(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, list[Port] | RocksError]]:
    """Have the database know the ports that these hosts have, and no others of them; (host, ports or error).

    A host without an adapter has none from then on. StateError for one whose GUID another has.
    """
    for host, answer in _ask(database, {host: InfinibandRequest() for host in hosts}):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        ports = ports_of_facts(host, answer)
        owners = ib_ports.owners_of_guids(database, [port.guid for port in ports])
        others = sorted({owner for owner in owners.values() if owner != host})
        if others:
            yield (
                host,
                StateError(
                    f"{host} has a port with a GUID of {others[0]}; rocks list host ibport {others[0]}"
                ),
            )
            continue
        ib_ports.delete_ports(database, [host])
        ib_ports.insert_ports(database, ports)
        yield host, ports


def check_infiniband(
    database: Database, hosts: Sequence[str], tried_vf: str = ""
) -> Iterator[tuple[str, list[Checked] | RocksError]]:
    """(host, its lines or error). With `tried_vf`, a free function of the one host is written to and put back."""
    if tried_vf and len(hosts) != 1:
        raise UserError("function is of one host; name that host alone")
    members = {partition.pkey: partition for partition in partitions.read_partitions(database)}
    running = partitions.running_under(database, list(members))
    machines = {name: key for key, name, _ in running}
    for host, answer in _ask(database, {host: InfinibandRequest(tried_vf) for host in hosts}):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        keys = {
            key | FULL_BIT if members[key].membership == "full" else key
            for key, _, place in running
            if place.lower() == host.lower()
        }
        yield host, check_host(answer, ib_ports.read_ports(database, [host]), keys, members, machines)


def _ask(
    database: Database, requests: dict[str, InfinibandRequest]
) -> Iterator[tuple[str, InfinibandFacts | RocksError]]:
    with open_fleet(database, list(requests)) as fleet:
        for host, answer in fleet.ask_each(requests):
            if not isinstance(answer, InfinibandFacts | RocksError):
                answer = BugError(f"{host} answered a question for adapters with {type(answer).__name__}")
            yield host, answer
