"""What the service of high availability watches, and what it could not do: for its log, before a host fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.machine import records as table
from rocks.machine.leases.leases import FENCE_ATTRIBUTE
from rocks.machine.moves.drains import why_bound
from rocks.trust.secret_records import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database


_SET = "rocks set host sec_attr"


def watch_lines(database: Database, held: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines for the hosts and their machines: no fence command, and machines that can start on their own host only."""
    commands = resolve_secret(database, FENCE_ATTRIBUTE, sorted(held))
    lines = []
    for host, names in sorted(held.items()):
        line = f"{host} is watched for {', '.join(sorted(names))}"
        if not commands.get(host):
            line += f"; it has no fence command, so nothing is taken from it: {_SET} {host} {FENCE_ATTRIBUTE}"
        lines.append(line)
        reasons = why_bound(database, table.load_vms(database, sorted(names)))
        lines += [f"{name} cannot start elsewhere: {reason}" for name, reason in reasons.items()]
    return lines
