"""R31: what one owner's power-on takes while the changes of another one wait by the thousand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from bench.nucleus.requests import Service, ask
from bench.table import Row, at_most
from bench.timing import typical
from nucleus.mirror import clusters, operations
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM, NewOperation
from rocks.core.errors import ToolError

QUEUED = 1000
"""As many as a project may have."""


def measure_turns(pool: Pool, owner: Service, own: Sequence[str], greedy: Sequence[str]) -> list[Row]:
    """Power-ons of the frontends of the owner's clusters, one after the other: half of them alone, half beside others.

    `greedy`: clusters of another project.
    """
    half = len(own) // 2
    alone = typical([_power_on(owner, name) for name in own[:half]])
    _ask_for_much(pool, greedy)
    beside = typical([_power_on(owner, name) for name in own[half:]])
    left = _queued(pool)
    if not left:
        raise ToolError("the changes of the other owner had ended before the figure was measured")
    how = (
        f"{beside:.2f} s / {alone:.2f} s, medians of {half}, from the request to the end of its operation; a command"
        f" takes 1 s; {left} changes waited at the end"
    )
    return [
        at_most(
            "R31",
            f"a power-on while {QUEUED} changes of another owner wait / alone",
            beside / alone,
            1.5,
            "",
            how,
        )
    ]


def _power_on(owner: Service, name: str) -> float:
    begin = time.monotonic()
    identifier = json.loads(ask(owner, "PUT", f"/v1/cluster/{name}/frontend/poweron"))["id"]
    found = {"state": "queued"}
    while found["state"] in ("queued", "running"):
        found = json.loads(ask(owner, "GET", f"/v1/operation/{identifier}?wait=55"))
    if found["state"] != "succeeded":
        raise ToolError(f"the power-on of {name} has {found['state']}: {found.get('error')}")
    return time.monotonic() - begin


def _ask_for_much(pool: Pool, names: Sequence[str]) -> None:
    """Frontends are powered on and off, in turns: none of it is merged."""
    with pool.transaction() as session:
        for number in range(QUEUED):
            cluster = clusters.find_cluster(session, SYSTEM, names[number % len(names)])
            node = clusters.find_node(session, SYSTEM, cluster.id, None) if cluster else None
            if cluster is None or node is None:
                raise ToolError(f"the mirror has no {names[number % len(names)]}")
            kind = ("poweron", "poweroff")[number // len(names) % 2]
            new = NewOperation(kind, "greedy", cluster.id, node.id, project_id=cluster.project_id)
            operations.insert_operation(session, new)


def _queued(pool: Pool) -> int:
    with pool.transaction() as session:
        return int(session.value("SELECT COUNT(*) FROM operation WHERE state = 'queued'"))
