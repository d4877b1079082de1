"""A fleet of the hosts that a command talks to, from what the cluster database knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.addresses import host_addresses
from rocks.hosts.fleet import Fleet
from rocks.hosts.settings import FleetSettings, HostAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def open_fleet(database: Database, names: Sequence[str], settings: FleetSettings | None = None) -> Fleet:
    """The fleet of the named hosts, to be used in a `with`; nothing is connected yet.

    Names that are no host of the database are left out. StateError for a host whose `ssh_port` is none.
    """
    return Fleet(fleet_addresses(database, names), settings or FleetSettings())


def fleet_addresses(database: Database, names: Sequence[str]) -> list[HostAddress]:
    """The named hosts as a fleet wants them: one that has no address goes by its name."""
    return [
        HostAddress(found.name, found.address or found.name, found.port, found.is_local)
        for found in host_addresses(database, names)
    ]
