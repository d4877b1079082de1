"""Make hosts and this machine known to each other: their keys recorded here, ours accepted there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.host_requests import fleet_addresses
from rocks.errors import HostError, RocksError
from rocks.hosts.keys import (
    accepts_our_key,
    ensure_own_key,
    fetch_host_key,
    install_own_key,
    known_host_keys,
    record_host_keys,
)
from rocks.hosts.run_parallel import run_parallel
from rocks.hosts.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.hosts.known_hosts import HostKey
    from rocks.hosts.settings import HostAddress

DEADLINE_SECONDS = 30.0


class SharedKey(NamedTuple):
    """What was done for a host: the key it shows, and which of the two keys were new to the other side."""

    host: str
    key_type: str
    fingerprint: str
    recorded: bool
    installed: bool


def share_keys(
    database: Database, names: Sequence[str], replace: bool = False, settings: FleetSettings | None = None
) -> Iterator[tuple[str, SharedKey | RocksError]]:
    """Record each host's key and have it accept ours; yields (host, what was done or why not).

    A host that is this machine needs neither and is passed over. A host that shows another key than the recorded
    one is refused, unless `replace` says that it may. Where our key is not accepted yet, OpenSSH's client asks at
    the terminal for what lets the operator in.
    """
    chosen = settings or FleetSettings()
    hosts = {host.name: host for host in fleet_addresses(database, names) if not host.is_local}
    database.commit()
    if hosts:
        ensure_own_key(chosen)
    jobs = {name: partial(fetch_host_key, host, chosen) for name, host in hosts.items()}
    for name, key in run_parallel(
        jobs, threads=chosen.threads, deadline_seconds=dict.fromkeys(jobs, DEADLINE_SECONDS)
    ):
        try:
            yield name, key if isinstance(key, RocksError) else _share(hosts[name], key, replace, chosen)
        except RocksError as error:
            yield name, error


def _share(host: HostAddress, key: HostKey, replace: bool, settings: FleetSettings) -> SharedKey:
    known = known_host_keys(host, settings)
    same_type = [old for old in known if old.get_name() == key.get_name()] or list(known)
    if known and key not in known and not replace:
        raise HostError(
            f"host {host.name} shows another key ({key.fingerprint}) than the recorded one "
            f"({same_type[0].fingerprint}): if it was installed anew, take it with "
            f"rocks sync host sharedkey {host.name} replace=yes; otherwise somebody else answers at {host.address}"
        )
    recorded = key not in known and record_host_keys(settings.known_hosts_file, host, (key,))
    installed = not accepts_our_key(host, settings)
    if installed:
        install_own_key(host, settings)
    return SharedKey(host.name, key.get_name(), key.fingerprint, recorded, installed)
