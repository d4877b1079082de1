"""Machines that may run on a host, but are not in the database: removed while it was silent, or lost by a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.machine.leases import records as leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.machine.leases.plan import HeldLease

_MAX_NAMES = 3


def check_names_are_not_held(database: Database, names: Sequence[str]) -> None:
    """StateError when a lease of one of the names is held by a machine that the database does not know.

    A new machine of that name would be treated as the old one: stopping it would stop the other.
    """
    _check_names(leases.held_by_unknown(database), names)


def check_addition(database: Database, names: Sequence[str]) -> None:
    """As `check_names_are_not_held`, and StateError when any machine that the database does not know may be running.

    Its VLAN and MAC addresses are not known here, so that a new machine could get them: two owners would share a VLAN.
    One statement.
    """
    unknown = leases.held_by_unknown(database)
    _check_names(unknown, names)
    if unknown:
        listed = ", ".join(f"{lease.name} on {lease.host}" for lease in unknown[:_MAX_NAMES])
        more = f" and {len(unknown) - _MAX_NAMES} more" if len(unknown) > _MAX_NAMES else ""
        raise StateError(
            f"{listed}{more} may be running and not in the database, so VLAN and MAC addresses that are in use are "
            f"not known here and could be given again. Stop it first: {_stop(unknown[0])}; rocks list host vm lease "
            "lists all"
        )


def _check_names(unknown: Sequence[HeldLease], names: Sequence[str]) -> None:
    requested = {name.lower() for name in names}
    for lease in unknown:
        if lease.name.lower() in requested:
            raise StateError(
                f"{lease.name} may still be running on {lease.host}, but is not in the database: a new machine cannot "
                f"have its name. Stop it first: {_stop(lease)}"
            )


def _stop(lease: HeldLease) -> str:
    return f"rocks stop host vm {lease.name} (if {lease.host} is off for good: force=yes reason=TEXT)"
