"""Machines that have ended by themselves: what their host reports, checked by asking it (decision 72)."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.errors import RocksError, UserError
from rocks.fleet.wire.end_reports import MAX_NAMES
from rocks.inventory.host_requests import open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import lock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, RUNNING, STARTING, STOPPING
from rocks.machine.moves.interrupted_moves import GuestRunsError, end_interrupted
from rocks.network.infiniband.machine_partitions import leave_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease

_TERMINATION_SECONDS = 6 * 3600.0
"""Writing an image back may take hours."""

_IMAGE_SECONDS = 20.0
"""The host that reports an end waits for the answer for 60 s (`machine.host.ended`)."""


def read_names(body: bytes) -> list[str]:
    """The names in a request, one a line. UserError for too many, or text that is not UTF-8."""
    try:
        names = body.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise UserError("the names of the machines are not UTF-8 text") from None
    names = [name for name in dict.fromkeys(names) if name]
    if len(names) > MAX_NAMES:
        raise UserError(f"{len(names)} machines are named, at most {MAX_NAMES} at once")
    return names


def take_ended(
    database: Database,
    host: str,
    names: Sequence[str],
    terminate: Callable[[Sequence[str]], None] | None = None,
) -> list[str]:
    """Release the leases of those machines that run on the host by the database, and not by the host; returns them.

    So are those whose start was interrupted; and those whose stop was, or lost its host: they keep the reason of a stop
    by force, and `terminate`, which gets the others also when the report of another one ends in an error, does not get
    them.

    A live migration that was interrupted is ended before, when the guest is off on both hosts. Other names are ignored:
    a host reports only its own machines. BusyError while another command works on one of them, HostError when the host
    does not answer; then nothing is released. HostError when the other host of a migration does not answer, BusyError
    while an agent of it works, a NAS takes an image, or a command starts or stops a machine, StateError while its guest
    is paused: then the other machines are released before. Commits.
    """
    held = _that_may_run(database, host, {name.lower() for name in names})
    if not held:
        return []
    busy = lock_vms(database, [lease.name for lease in held], also_moving=True)
    for lease in held:
        if lease.name in busy and lease.state not in (STARTING, STOPPING):
            raise busy[lease.name]
    locked = [lease.name for lease in held if lease.name not in busy]
    failed = end_interrupted(database, locked, lambda line: None, _IMAGE_SECONDS)
    # a guest that runs has left here what has ended; any other error has the host report it once more
    unsettled = [error for error in failed.values() if not isinstance(error, GuestRunsError)]
    held = _that_may_run(database, host, {name.lower() for name in locked})  # as it is under the locks
    gone = _release(database, host, [lease for lease in held if lease.state != MOVING])
    stopped = {lease.name for lease in held if lease.state == STOPPING}
    by_themselves = [name for name in gone if name not in stopped]
    if by_themselves and terminate is not None:
        terminate(by_themselves)
    for error in (*unsettled, *busy.values()):
        raise error
    return gone


def _release(database: Database, host: str, held: Sequence[Lease]) -> list[str]:
    """Release the leases of those of the machines that the host reports as ended; returns them."""
    if not held:
        return []
    database.commit()
    ends = {host: [(lease.name, lease.token) for lease in held]}
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host], lease_ends=ends)[host]
    if isinstance(answer, RocksError):
        raise answer
    ended = {name.lower() for name in answer.ended}
    gone = [lease.name for lease in held if lease.name.lower() in ended]
    stopped = [lease.name for lease in held if lease.name in gone and lease.state == STOPPING]
    leases.release_keeping_reasons(database, stopped)
    leases.release_leases(
        database, [name for name in gone if name not in stopped], f"it ended by itself on {host}"
    )
    database.commit()
    if gone:
        leave_partitions(database)
        database.commit()
    return gone


def _that_may_run(database: Database, host: str, names: set[str]) -> list[Lease]:
    """The named machines that run on the host by their leases, were to start or stop there, or move from or to it."""
    found = leases.leases_of_hosts(database, [host])
    # a start records what runs at its end only, and a guest may have ended by then
    states = (STARTING, RUNNING, STOPPING, MOVING)
    return [lease for lease in found if lease.name.lower() in names and lease.state in states]


class Termination:
    """Runs `rocks stop host vm NAME terminate=yes` for machines that have ended, one command after the other."""

    def __init__(self, launcher: str, log: Callable[[str], None]) -> None:
        self._launcher, self._log = launcher, log
        self._waiting: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, names: Sequence[str]) -> None:
        """Have the resources of these machines released, and return at once."""
        self._waiting.put(list(names))

    def _work(self) -> None:
        while True:
            names = self._waiting.get()
            command = [self._launcher, "stop", "host", "vm", *names, "terminate=yes"]
            try:
                process.run_checked(command, deadline_seconds=_TERMINATION_SECONDS)
            except RocksError as error:
                self._log(
                    f"the resources of {', '.join(names)} are not released: {error}; "
                    f"rocks stop host vm {' '.join(names)} terminate=yes"
                )
