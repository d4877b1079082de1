"""Fences of hosts that will not return, and machines that may run behind them.

The rows are in `leases.lease`, and the site's fence command in `machine.stop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.inventory.hosts import node_ids
from rocks.leases import lease as leases
from rocks.leases.lease import read_record, reason_to_add_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


# Fences of hosts that will not return: a fence ends when its host confirms it, which a removed host never does.


def remove_fences(database: Database, hosts: Sequence[str], machine: str | None) -> dict[str, list[str]]:
    """Remove the fences on hosts that are not in the database; returns host → names of its machines.

    With `machine`, only those of that name. StateError, and no change, for a host that is in the database: it may
    return with an old domain of the machine. StateError, too, for a host without such a fence.
    """
    known = node_ids(database, hosts)
    found = {
        host.lower(): (host, of_host) for host, of_host in leases.fences_of_hosts(database, hosts).items()
    }
    removed: dict[str, list[str]] = {}
    for asked in dict.fromkeys(hosts):
        if asked.lower() in known and asked.lower() in found:
            raise StateError(
                f"host {asked} is in the database, and its fences end when it answers (rocks list host vm status=yes); "
                f"if it never returns, remove it first: rocks remove host {asked}"
            )
        host, fences = found.get(asked.lower(), (asked, []))
        chosen = [fence for fence in fences if machine is None or fence[0].lower() == machine.lower()]
        if not chosen:
            of_machine = f" of {printable(machine)}" if machine else ""
            raise StateError(
                f"there is no fence{of_machine} on {printable(asked)}; rocks list host vm lease lists all fences"
            )
        leases.take_down_fences(database, host, chosen)
        removed[host] = [name for name, _ in chosen]
    return removed


def waiting_fences(database: Database, hosts: Sequence[str]) -> list[str]:
    """One line for each of the hosts with fences: what they are for, and how they end."""
    return [
        f"{host} has {len(of_host)} fence{'s' if len(of_host) > 1 else ''} (rocks list host vm lease): when {host} "
        "answers, older domains of these machines there are destroyed. If it never returns, "
        f"rocks remove host {host} and rocks remove host vm fence {host} remove them"
        for host, of_host in leases.fences_of_hosts(database, hosts).items()
    ]


# Machines that may run on a host, but are not in the database: removed while it was silent, or lost by a restore.


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
