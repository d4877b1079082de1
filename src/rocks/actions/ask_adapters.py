"""Ask hosts for their adapters' virtual functions, or have them made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.reach_hosts import open_fleet
from rocks.cluster.vm_network import kernel_device
from rocks.database import virtual_functions as table
from rocks.errors import BugError, RocksError
from rocks.wire.facts import AdapterFacts, AdapterSpec, AdaptersRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.wire.facts import AdapterFact

LISTING_SECONDS = 20.0
"""How long a listing waits for a host."""

Answers = dict[str, tuple["AdapterFact", ...] | RocksError]
"""Host → its adapters, or why it gave no answer."""


def ask_adapters(database: Database, hosts: Sequence[str]) -> Answers:
    """What the hosts say of those of their adapters that are to give functions; nothing is changed."""
    return _ask(database, hosts, is_made=False, limit_seconds=LISTING_SECONDS)


def make_vfs(database: Database, hosts: Sequence[str]) -> Answers:
    """Have the hosts' adapters give as many functions as the database says, now; nothing is done where they do."""
    return _ask(database, hosts, is_made=True, limit_seconds=None)


def _ask(database: Database, hosts: Sequence[str], *, is_made: bool, limit_seconds: float | None) -> Answers:
    wanted: dict[str, list[AdapterSpec]] = {}
    for row in table.adapters_of(database, hosts):
        adapter = AdapterSpec(kernel_device(row.device, row.options), row.functions if is_made else 0)
        wanted.setdefault(row.host, []).append(adapter)
    database.commit()
    answers: Answers = {}
    with open_fleet(database, sorted(wanted)) as fleet:
        requests = {host: AdaptersRequest(tuple(adapters)) for host, adapters in wanted.items()}
        for host, answer in fleet.ask_each(requests, limit_seconds):
            if isinstance(answer, AdapterFacts):
                answers[host] = answer.adapters
            elif isinstance(answer, RocksError):
                answers[host] = answer
            else:
                answers[host] = BugError(
                    f"{host} answered a question for adapters with {type(answer).__name__}"
                )
    return answers
