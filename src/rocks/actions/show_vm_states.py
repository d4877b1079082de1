"""What runs where: the hosts' word for each virtual machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.ask_hosts import ask_facts
from rocks.actions.reach_hosts import open_fleet
from rocks.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.database.connection import Database

STATUS_SECONDS = 5.0
"""How long a listing waits for a host."""

ERROR_STATE = "nostate-error"
SHOWN = {"running": "active", "blocked": "active"}


def show_vm_states(database: Database, containers: Mapping[str, str | None]) -> dict[str, str]:
    """Machine → its state on its container; `containers` maps each machine to the latter's name, or None.

    `active`, `paused`, `shutdown`, `shutoff` or `crashed`; `nostate` when its container has no such domain;
    `nostate-error` when it has no container or the container does not answer within `STATUS_SECONDS`. One
    connection a container, all at once.
    """
    hosts = sorted({host for host in containers.values() if host})
    with open_fleet(database, hosts) as fleet:
        facts = ask_facts(database, fleet, hosts, limit_seconds=STATUS_SECONDS)
    states = {
        host: {domain.name: SHOWN.get(domain.state, domain.state) for domain in answer.domains}
        for host, answer in facts.items()
        if not isinstance(answer, RocksError)
    }
    return {
        name: states[host].get(name, "nostate") if host in states else ERROR_STATE
        for name, host in containers.items()
    }
