"""Files on hosts that the database decides: names, accounts of people, secret attributes. By SSH, all hosts at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rocks.core.clock import wait_seconds
from rocks.core.errors import BusyError, StateError
from rocks.fleet.host_files import DEADLINE_SECONDS, read_files, replace_files
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.settings import FleetSettings
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import which_are_vms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.fleet.host_files import FileChange
    from rocks.fleet.settings import HostAddress

    Plan = Callable[[str, Mapping[str, bytes]], list[FileChange]]
    """Name of a host and what it has of the files → the changes. RocksError when that host has to stay."""

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5


def sync_files(
    database: Database,
    names: Sequence[str],
    paths: Sequence[str],
    plan: Plan,
    locks: Sequence[str] = (),
    *,
    with_this_machine: bool = False,
) -> Iterator[tuple[str, bool | RocksError]]:
    """Have the files of each host as `plan` says; yields (host, whether it changed, or the error) as hosts end.

    This machine is left out, unless its files are asked for. StateError for virtual machines, whose files are their
    owners'. A file that changes between reading and writing is read again. The transaction ends before the first
    connection.
    """
    chosen = FleetSettings()
    local = "" if with_this_machine else (find_local_host(database) or "").lower()
    machines = {name.lower() for name in which_are_vms(database, names)}
    physical = [name for name in names if name.lower() not in machines | {local}]
    hosts = {host.name: host for host in host_addresses(database, physical)}
    database.end_reading()
    for name in names:
        if name.lower() in machines:
            yield (
                name,
                StateError(f"{name} is a virtual machine, whose files are its owner's; name physical hosts"),
            )
    jobs = {name: partial(_sync, host, chosen, paths, plan, locks) for name, host in hosts.items()}
    deadlines = dict.fromkeys(jobs, 2 * _ATTEMPTS * (DEADLINE_SECONDS + _PAUSE_SECONDS))
    yield from run_parallel(jobs, threads=chosen.threads, deadline_seconds=deadlines)


def _sync(
    host: HostAddress, settings: FleetSettings, paths: Sequence[str], plan: Plan, locks: Sequence[str]
) -> bool:
    for attempt in range(_ATTEMPTS):
        found = read_files(host, settings, paths)
        changes = plan(host.name, found)
        if not changes:
            return False
        try:
            replace_files(host, settings, found, changes, locks)
        except BusyError:
            if attempt == _ATTEMPTS - 1:
                raise
            wait_seconds(_PAUSE_SECONDS)
        else:
            break
    return True
