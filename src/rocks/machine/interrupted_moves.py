"""Live migrations whose command was interrupted, and that another command ends: a start, or the report of an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError, StateError
from rocks.fleet.wire.facts import GUEST_RUNS
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, domain_on, is_off_on_both, move_was_interrupted
from rocks.machine import record as table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import Lease


class GuestRunsError(StateError):
    """The guest runs on one of the hosts of an interrupted migration."""


def end_interrupted(
    database: Database,
    names: Sequence[str],
    notify: Callable[[str], None],
    image_seconds: float | None = None,
) -> dict[str, RocksError]:
    """End the migrations of those machines that are off on both hosts; the error of each that cannot be ended.

    The caller has locked the machines. As `settle` of `live_move`: afterwards one host has the machine, off.
    GuestRunsError for one that runs, StateError for one that is paused, HostError for one with a silent host: its
    migration stays as it is. BusyError when a NAS needs longer than `image_seconds`, or than a start
    waits, for its images. Commits.
    """
    failed: dict[str, RocksError] = {}
    moving = [one for one in leases.read_leases(database, names).values() if one.state == MOVING]
    if not moving:
        return failed
    database.end_reading()
    hosts = sorted({host for one in moving for host in (one.host, one.target) if host})
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts)
    for lease in moving:
        try:
            _check_is_off(lease, facts)
            _end(database, lease, notify, image_seconds)
        except RocksError as error:
            database.rollback()
            failed[lease.name] = error
    return failed


def _check_is_off(lease: Lease, facts: Mapping[str, HostFacts | RocksError]) -> None:
    stuck = move_was_interrupted(lease)
    for host in filter(None, (lease.host, lease.target)):
        answer = facts[host]
        if isinstance(answer, RocksError):
            raise HostError(f"{stuck}. Whether it runs is not known: {answer}")
    found = [domain_on(facts[host], lease.name) for host in (lease.host, lease.target) if host]
    if any(domain is not None and domain.state in GUEST_RUNS for domain in found):
        raise GuestRunsError(str(stuck))
    if not is_off_on_both(lease.name, lease.host, lease.target, facts):
        raise stuck


def _end(
    database: Database, lease: Lease, notify: Callable[[str], None], image_seconds: float | None
) -> None:
    # its libraries take time, and most starts have no use for them
    from rocks.machine.live_move import settle

    (vm,) = table.load_vms(database, [lease.name])
    for line in settle(database, vm, lease, image_seconds=image_seconds):
        notify(line)
