"""Machines that may run on a host, but are not in the database: removed while it was silent, or lost by a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.leases import records as leases
from rocks.leases.epoch import read_record, reason_to_add_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_MAX_NAMES = 3


def check_names_are_not_held(database: Database, names: Sequence[str]) -> None:
    """StateError when a lease of one of the names is held by a machine that the database does not know.

    A new machine of that name would be treated as the old one: stopping it would stop the other.
    """
    _, unknown = leases.held_by_unknown(database)
    _check_names(unknown, names)


def check_addition(database: Database, names: Sequence[str]) -> None:
    """As `check_names_are_not_held`, and StateError when any machine that the database does not know may be running.

    Its VLANs and addresses are not known here, so that another could get them: two owners would share a VLAN.
    After a restore such machines may have no lease here, so nothing is added before the hosts were asked.
    One statement.
    """
    # first: who grants a lease meanwhile commits, and writes the record after that
    recorded = read_record(database)
    present, unknown = leases.held_by_unknown(database)
    _check_names(unknown, names)
    reason = reason_to_add_nothing(database, present, recorded)
    if reason is not None:
        raise StateError(
            f"nothing is added or changed: {reason}. A machine that runs and is not in the database may have the VLAN "
            "and addresses that another would get. `rocks sync vm lease` asks the hosts; then repeat the command"
        )
    if unknown:
        listed = ", ".join(f"{name} on {host}" for name, host in unknown[:_MAX_NAMES])
        more = f" and {len(unknown) - _MAX_NAMES} more" if len(unknown) > _MAX_NAMES else ""
        raise StateError(
            f"nothing is added or changed: {listed}{more} may be running and not in the database, with a VLAN and "
            f"addresses that another machine would get. Stop it first: {_stop(*unknown[0])}; rocks list host vm lease "
            "lists all"
        )


def _check_names(unknown: Sequence[tuple[str, str]], names: Sequence[str]) -> None:
    requested = {name.lower() for name in names}
    for name, host in unknown:
        if name.lower() in requested:
            raise StateError(
                f"{name} may still be running on {host}, but is not in the database: a new machine cannot "
                f"have its name. Stop it first: {_stop(name, host)}"
            )


def _stop(name: str, host: str) -> str:
    return f"rocks stop host vm {name} (if {host} is off for good: force=yes reason=TEXT)"
