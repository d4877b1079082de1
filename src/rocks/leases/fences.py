"""Fences of hosts that will not return: a fence ends when its host confirms it, which a removed host never does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.inventory.node_records import node_ids
from rocks.leases import records as leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


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
