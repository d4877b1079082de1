"""Names follow changes of hosts and aliases, where this machine has the name service. Light: many import it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.database.connection import Database

FOLDER = Path("/etc/bind/rocks")
"""named.conf and the zones; below /etc/bind, where Debian's AppArmor profile lets named read."""


def name_folder() -> Path:
    """The folder of named's files; the environment variable ROCKS_DNS_FOLDER overrides the default."""
    return Path(os.environ.get("ROCKS_DNS_FOLDER") or FOLDER)


def has_name_service() -> bool:
    """Whether the name service was started on this machine."""
    return (name_folder() / "zones").is_dir()


def names_after_commit(database: Database) -> None:
    """Write the names when the transaction is committed, if this machine has the name service."""

    def sync() -> None:
        from rocks.network.dns.service import sync_names

        sync_names(database)

    if has_name_service():
        database.after_commit(sync)
