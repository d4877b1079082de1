"""What runs where: the hosts' word for each virtual machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.ask_hosts import ask_facts
from rocks.actions.reach_hosts import open_fleet
from rocks.database import leases
from rocks.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.database.connection import Database

STATUS_SECONDS = 5.0
"""How long a listing waits for a host."""

ERROR_STATE = "nostate-error"
SHOWN = {"running": "active", "blocked": "active"}


def show_vm_states(database: Database, containers: Mapping[str, str | None]) -> dict[str, str]:
    """Machine → its state where it may run; `containers` maps each machine to its container's name, or None.

    `active`, `paused`, `shutdown`, `shutoff` or `crashed`; `nostate` when its host has no such domain;
    `nostate-error` when it has no container or its host does not answer within `STATUS_SECONDS`. A machine that
    was given another container while it runs is asked for where its lease is. One connection a host, all at once.
    """
    held = leases.read_leases(database, list(containers))
    places = {
        name: lease.host if (lease := held.get(name.lower())) and lease.is_held else container
        for name, container in containers.items()
    }
    hosts = sorted({host for host in places.values() if host})
    with open_fleet(database, hosts) as fleet:
        facts = ask_facts(database, fleet, hosts, limit_seconds=STATUS_SECONDS)
    states = {
        host: {domain.name: SHOWN.get(domain.state, domain.state) for domain in answer.domains}
        for host, answer in facts.items()
        if not isinstance(answer, RocksError)
    }
    return {
        name: states[host].get(name, "nostate") if host in states else ERROR_STATE
        for name, host in places.items()
    }
