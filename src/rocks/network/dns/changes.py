"""Names follow changes of hosts and aliases, where this machine has them already. Light: many import it."""

from __future__ import annotations

import os
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_alias, printable
from rocks.inventory import host_records
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.hosts import appliance_names, find_taken_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


FOLDER = Path("/etc/bind/rocks")
"""named.conf and the zones; below /etc/bind, where Debian's AppArmor profile lets named read."""


HOSTS_FILE = Path("/etc/hosts")
BEGINS = "# begin of rocks"
"""How the first line of our part of a hosts file begins, in this release and earlier ones."""


def name_folder() -> Path:
    """The folder of named's files; the environment variable ROCKS_DNS_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_DNS_FOLDER") or FOLDER)


def has_name_service() -> bool:
    """Whether the name service was started on this machine."""
    return (name_folder() / "zones").is_dir()


def hosts_file() -> Path:
    """The frontend's hosts file; the environment variable ROCKS_HOSTS_FILE overrides the default."""
    return Path(os.environ.get("ROCKS_HOSTS_FILE") or HOSTS_FILE)


def has_names() -> bool:
    """Whether this machine has the name service, or our part in its hosts file: what was written once is kept up."""
    if has_name_service():
        return True
    try:
        with hosts_file().open("rb") as lines:
            return any(line.startswith(BEGINS.encode()) for line in lines)
    except OSError:  # a user who is not root, or no such file
        return False


def names_after_commit(database: Database) -> None:
    """Write the names when the transaction is committed, once, if this machine has names of the site.

    The commit raises StateError where that fails: its changes stay.
    """
    if has_names():
        database.after_commit(MethodType(_sync, database))  # equal for each call: once


def _sync(database: Database) -> None:
    from rocks.network.dns.service import sync_names

    try:
        sync_names(database)
    except RocksError as error:
        raise StateError(
            f"the change is stored, but the names of the site are not (rocks sync config writes them): {error}"
        ) from None


# Add and remove aliases of hosts.


def add_alias(database: Database, host: str, alias: str) -> None:
    """Add an alias to the host. UserError for an alias that is not valid or in use."""
    check_alias(alias, {appliance.lower() for appliance in appliance_names(database)})
    lock_inventory(database)
    taken = find_taken_names(database, [alias], host).get(alias.lower())
    if taken is not None and taken[0] == "alias":
        raise UserError(f'alias "{printable(alias)}" already exists: host {taken[1]} has it')
    if taken is not None and taken[0] == "interface":
        raise UserError(f'alias "{printable(alias)}" is the name of an interface of the host {taken[1]}')
    if taken is not None:
        raise UserError(f'alias "{printable(alias)}" is the name of a host, which always has precedence')
    host_records.insert_alias(database, host, alias)
    names_after_commit(database)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> None:
    """Remove the alias of that name, or all aliases of the hosts. UserError when no host has the alias."""
    removed = host_records.remove_aliases(database, hosts, alias)
    if alias is not None and hosts and not removed:
        raise UserError(
            f'these hosts have no alias "{printable(alias)}"; rocks list host alias shows their aliases'
        )
    names_after_commit(database)


def check_no_alias(database: Database, selector: str) -> None:
    """UserError for an alias: as a selector it means its host, of which all aliases would be removed."""
    kind, host = find_taken_names(database, [selector]).get(selector.lower(), ("", ""))
    if kind == "alias":
        raise UserError(
            f"{printable(selector)} is an alias of {host}: rocks remove host alias alias={selector} removes it, rocks "
            f"remove host alias {host} all aliases of the host"
        )
