"""Exchange SSH keys with hosts: record their host keys here, install our public key there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError
from rocks.fleet.connection import FleetSettings
from rocks.fleet.first_contact import (
    accepts_own_key,
    ensure_own_key,
    fetch_host_key,
    install_own_key,
    known_host_keys,
)
from rocks.fleet.known_hosts import read_known_hosts, record_host_keys, rename_hosts
from rocks.fleet.run_parallel import run_parallel
from rocks.install.installation.installations import KEYS_LOCK, LOCK_SECONDS
from rocks.inventory.address_records import host_addresses
from rocks.network.dns.service import load_site_names
from rocks.site.host_lists import known_hosts_lines, names_of_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.connection import HostAddress
    from rocks.fleet.known_hosts import HostKey

DEADLINE_SECONDS = 30.0


class SharedKey(NamedTuple):
    """The result for a host: its host key, and which of the two keys were new to the other side."""

    host: str
    key_type: str
    fingerprint: str
    recorded: bool
    installed: bool


def share_keys(
    database: Database,
    names: Sequence[str],
    confirm: Callable[[str, str, str], bool],
    replace: bool = False,
) -> Iterator[tuple[str, SharedKey | RocksError]]:
    """Record the host key of each host and install our key there; yields (host, result or error).

    `confirm` gets host, type and fingerprint of each key that is not recorded yet, and decides before anything is sent
    to its host: the machine at the address would get the password that OpenSSH's client asks for where our key is not
    accepted yet. This machine itself is skipped. HostError for a host with another key than the recorded one, unless
    `replace` is true; StateError for a key that is not confirmed.
    """
    chosen = FleetSettings()
    hosts = {host.name: host for host in host_addresses(database, names) if not host.is_local}
    database.commit()
    if hosts:
        ensure_own_key(chosen)
    jobs = {name: partial(fetch_host_key, host, chosen) for name, host in hosts.items()}
    for name, key in run_parallel(
        jobs, threads=chosen.threads, deadline_seconds=dict.fromkeys(jobs, DEADLINE_SECONDS)
    ):
        try:
            if isinstance(key, RocksError):
                raise key
            yield name, _share(database, hosts[name], key, confirm, replace, chosen)
        except RocksError as error:
            yield name, error


def rename_keys_after_commit(database: Database, new_names: Mapping[str, str]) -> None:
    """After the commit, recorded keys follow the names; '' removes them: another machine may get the former name."""

    def rename() -> None:
        with database.locked(KEYS_LOCK, LOCK_SECONDS):
            rename_hosts(FleetSettings().known_hosts_file, new_names)

    database.after_commit(rename)


def report_known_hosts(database: Database) -> str:
    """Lines of ssh_known_hosts: each recorded key, with all names and addresses of its host.

    HostError when this user cannot read the recorded keys.
    """
    path = FleetSettings().known_hosts_file
    try:
        known = read_known_hosts(path)
    except PermissionError:
        raise HostError(f"cannot read {path}: run the command as root") from None
    keys = {
        name: [f"{key.get_name()} {key.get_base64()}" for key in of_host] for name, of_host in known.items()
    }
    names, _ = load_site_names(database)
    return known_hosts_lines(names_of_hosts(names.addresses), keys)


def _share(
    database: Database,
    host: HostAddress,
    key: HostKey,
    confirm: Callable[[str, str, str], bool],
    replace: bool,
    settings: FleetSettings,
) -> SharedKey:
    known = known_host_keys(host, settings)
    same_type = [old for old in known if old.get_name() == key.get_name()] or list(known)
    if known and key not in known and not replace:
        raise HostError(
            f"host {host.name} has another key ({key.fingerprint}) than the recorded one "
            f"({same_type[0].fingerprint}): if it was installed anew, accept the key with "
            f"rocks sync host sharedkey {host.name} replace=yes; otherwise another machine answers at {host.address}"
        )
    if key not in known and not confirm(host.name, key.get_name(), key.fingerprint):
        again = " replace=yes" if known else ""
        raise StateError(
            f"the key of host {host.name} ({key.get_name()} {key.fingerprint}) is not confirmed, so nothing was sent "
            "to it: compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on its console, then "
            f"rocks sync host sharedkey {host.name} fingerprint={key.fingerprint}{again}"
        )
    recorded = False
    if key not in known:
        with database.locked(KEYS_LOCK, LOCK_SECONDS):  # hosts that are installed just now report their keys
            recorded = record_host_keys(settings.known_hosts_file, host, (key,))
    installed = not accepts_own_key(host, settings)
    if installed:
        install_own_key(host, settings)
    return SharedKey(host.name, key.get_name(), key.fingerprint, recorded, installed)
