"""Leases that are taken from silent hosts by force, and live moves that are aborted because of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.callers import check_full_rights
from rocks.core.errors import RocksError, UserError
from rocks.fleet.settings import CannotAskError
from rocks.fleet.wire.domain_states import GUEST_RUNS
from rocks.fleet.wire.requests import SEED_SUFFIX, EndDeparture, StopDomain
from rocks.inventory.attributes.secret_records import resolve_secret
from rocks.inventory.host_requests import error_of, is_silent, may_be_off, open_fleet
from rocks.leases import lease as leases
from rocks.leases.fence_command import FENCE_ATTRIBUTE, Force, run_fence_command
from rocks.leases.machine_requests import contact_hosts, perform_operations
from rocks.leases.plan import (
    disk_may_be_old,
    domain_on,
    has_arrived,
    move_was_interrupted,
    target_answers,
)
from rocks.machine import record as disk_copies
from rocks.machine.record import DiskCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.inventory.records import Lease
    from rocks.leases.plan import DiskKey
    from rocks.machine.outcomes import Outcomes

    Report = Callable[[str], None]
    """Called with a line for the operator, which is printed at once."""


def take_over_vms(
    database: Database,
    held: Mapping[str, Lease],
    silent: Mapping[str, str],
    force: Force,
    outcomes: Outcomes,
) -> None:
    """Free the leases that silent hosts hold, and leave fences for the hosts' return.

    `held` has leases by lower-case name, `silent` maps a machine to its host. The failures in `outcomes` stay for a
    machine without a held lease, and are replaced for a machine whose host could not be fenced.
    """
    hosts = sorted(set(silent.values()))
    commands = resolve_secret(database, FENCE_ATTRIBUTE, hosts)
    database.commit()  # the programs take their time: no transaction is open meanwhile
    fenced = {host: _prove_off(host, commands.get(host, ""), force) for host in hosts}
    for name, host in silent.items():
        lease, proof = held.get(name.lower()), fenced.get(host, "")
        if lease is None or not lease.is_held:
            continue
        if isinstance(proof, RocksError):
            outcomes.failed[name] = proof
            continue
        leases.put_up_fences(database, [(host, name, lease.token + 1)])
        leases.release_leases(database, [name], force.reason)
        outcomes.failed.pop(name, None)
        outcomes.done[name] = (
            f"{name} was taken from {host} by force ({proof or force.reason}). If {host} is not off, {name} still "
            f"runs there and may run twice until {host} is reached again, when its old domain is destroyed",
        )


def _prove_off(host: str, command: str, force: Force) -> str | RocksError:
    """As `run_fence_command`; without a command, a person who may become root states it. UserError for others."""
    try:
        if force.host_is_off or not command:
            without = "" if command else f" (its attribute {FENCE_ATTRIBUTE} has no command)"
            check_full_rights(f"the statement that {host} is off{without}")
    except UserError as error:
        return error
    return run_fence_command(host, command, force)


class AbortedMoves(NamedTuple):
    """Machine in lower case → why its migration was not aborted; and lines about the disks of the others."""

    failed: dict[str, RocksError]
    warnings: tuple[str, ...]


def abort_moves(
    database: Database, moving: Sequence[Lease], force: Force, report: Report | None = None
) -> AbortedMoves:
    """Live migrations that were interrupted, and whose new host is silent: the machine is that of its old host again.

    As `take_over_vms` for the new host, which may run the machine. One that answers is not silent, whatever it says:
    then the machine fails. So it does when this machine cannot ask it, unless `force.host_is_off`. The caller has
    locked the machines: no command is moving them. Commits.

    `report` gets the lines about disks instead, each before the lease is changed: a command that is killed afterwards
    finds no migration when it is repeated, and would not print them.

    A machine that has arrived on a host that answers, and waits there for its images on a NAS, is ended there.
    """
    failed: dict[str, RocksError] = {}
    warnings: list[str] = []
    answers = _asked_about(database, moving)
    targets = sorted({lease.target for lease in moving if lease.target})
    commands = resolve_secret(database, FENCE_ATTRIBUTE, targets)
    database.commit()
    for lease in moving:
        assert lease.target is not None
        here, there = answers[lease.name]
        if _waits_for_images(database, lease, here, there):
            error = _abort_waiting(database, lease, report or warnings.append)
            failed.update({} if error is None else {lease.name.lower(): error})
            continue
        if not (is_silent(there) or (force.host_is_off and isinstance(there, CannotAskError))):
            failed[lease.name.lower()] = (
                target_answers(lease, str(there), may_be_off=may_be_off(there))
                if isinstance(there, RocksError)
                else move_was_interrupted(lease)
            )
            continue
        proof = _prove_off(lease.target, commands.get(lease.target, ""), force)
        if isinstance(proof, RocksError):
            failed[lease.name.lower()] = proof
            continue
        _abort_move(database, lease, has_arrived(lease, here, there), report or warnings.append)
    return AbortedMoves(failed, tuple(warnings))


def _waits_for_images(
    database: Database, lease: Lease, here: HostFacts | RocksError, there: HostFacts | RocksError
) -> bool:
    """Whether the machine has arrived on its new host, does not run there, and has images on a NAS to follow it."""
    found = domain_on(there, lease.name)
    if found is None or not found.persistent or found.state in GUEST_RUNS:
        return False
    has_images = any(_is_device(path) for _, path in leases.disks_of(database, lease.name))
    return has_images and has_arrived(lease, here, there) is True


def _abort_waiting(database: Database, lease: Lease, report: Report) -> RocksError | None:
    """End the machine on its new host, and give it back to its old one; the error of the host. Commits."""
    assert lease.target is not None
    database.end_reading()
    with open_fleet(database, [lease.target]) as fleet:
        end = StopDomain(lease.name, lease.token)
        ((_, outcome),) = perform_operations(database, fleet, {lease.target: [end]})
    error = error_of(outcome)
    if error is None:
        _abort_move(database, lease, True, report)
    return error


def _abort_move(database: Database, lease: Lease, arrived: bool | None, report: Report) -> None:
    """Give the machine back to its old host; its disks are in doubt unless it is known to run there. Commits."""
    assert lease.target is not None and lease.host is not None
    covered = leases.disks_of(database, lease.name)
    copies = _copies_on(database, lease, lease.target, covered)
    # without a disk among them there is nothing to decide: the small disk for cloud-init is made at each start
    if arrived is not False and any(not copy.path.endswith(SEED_SUFFIX) for copy in copies):
        report(disk_may_be_old(lease, has_arrived=arrived is True, paths=[copy.path for copy in copies]))
        disk_copies.doubt_copies(database, lease.name, copies)
    leases.put_up_fences(database, [(lease.target, lease.name, lease.token + 1)])
    disks = [key for key in covered if key[0].lower() == lease.host.lower()]
    leases.end_live_move(database, lease.name, lease.host, disks)
    database.commit()


def _copies_on(database: Database, lease: Lease, host: str, covered: Sequence[DiskKey]) -> list[DiskCopy]:
    """The files that the migration has made on its new host; `covered` are the disks of the lease."""
    recorded = [
        one.path for one in disk_copies.read_copies(database, lease.name) if one.host.lower() == host.lower()
    ]
    leased = [path for place, path in covered if place.lower() == host.lower() and not _is_device(path)]
    return [DiskCopy(host, path) for path in dict.fromkeys([*recorded, *leased])]


def _is_device(path: str) -> bool:
    """Whether it is the device of an image on a NAS, which knows by itself which host has the current content."""
    return path.startswith("/dev/")


def _asked_about(
    database: Database, moving: Sequence[Lease]
) -> dict[str, tuple[HostFacts | RocksError, HostFacts | RocksError]]:
    """Machine → what its old and its new host report, when no agent of the old one works on the migration any more."""
    hosts = sorted({host for lease in moving for host in (lease.host, lease.target) if host})
    database.commit()
    ends: dict[str, list[EndDeparture]] = {}
    for lease in moving:
        ends.setdefault(str(lease.host), []).append(EndDeparture(lease.name, lease.token))
    with open_fleet(database, hosts) as fleet:
        left = {
            name.lower(): error_of(outcome) for name, outcome in perform_operations(database, fleet, ends)
        }
        facts = contact_hosts(database, fleet, hosts, asks_leases=True)
    return {
        lease.name: (left[lease.name.lower()] or facts[str(lease.host)], facts[str(lease.target)])
        for lease in moving
    }
