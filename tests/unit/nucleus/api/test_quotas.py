"""Limits of a project and refusals: how old a state is, and the node hours that a project may use."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.api import quotas
from nucleus.api.nodes import seen_ago
from nucleus.api.problems import Problem
from nucleus.limits import LIMITS
from nucleus.mirror import usage
from owners.computesets import rest
from owners.consoles import rest as consoles
from owners.images import image_uploads
from tests.unit.nucleus.api.test_representations import COMPUTE, FRONTEND, NOW, cluster


@pytest.mark.parametrize(
    ("power", "commanded", "text"),
    [
        (5, None, ""),
        (6, None, " (as was seen 6 s ago)"),
        (100, 2, ""),
        (8, 100, " (as was seen 8 s ago)"),
        (None, None, ""),
    ],
)
def test_a_refusal_says_how_old_the_state_is(power: float | None, commanded: float | None, text: str) -> None:
    change: Any = SimpleNamespace(call=SimpleNamespace(now=NOW))
    node = FRONTEND._replace(
        last_command_at=None if commanded is None else NOW - timedelta(seconds=commanded)
    )
    assert seen_ago(change, cluster(0, power, 0), node) == text


def test_hours_of_nodes_are_rounded_up_and_counted_where_no_scheduler_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = SimpleNamespace(id=1, name="alpha", limits={"node_hours": 2, "walltime_minutes": 90})
    used = SimpleNamespace(vms=0, cpus=0, memory_mb=0, disk_gb=0, sets=0)
    monkeypatch.setattr(quotas.identity, "project_by_id", lambda *_, **__: project)
    monkeypatch.setattr(quotas.usage, "project_usage", lambda *_: used)
    monkeypatch.setattr(rest, "committed_minutes", lambda _, account: {"alp1": 60}[account])

    def demand(minutes: int, kind: str) -> None:
        batch = SimpleNamespace(batch=SimpleNamespace(kind=kind))
        change: Any = SimpleNamespace(
            session=None, call=SimpleNamespace(service=SimpleNamespace(configuration=batch))
        )
        quotas.demand_quota(change, cluster(0, 0, 0), [COMPUTE, COMPUTE], minutes)
        rest.demand_node_hours(change, cluster(0, 0, 0), 2 * minutes, "alp1")

    demand(30, "hosts")
    with pytest.raises(Problem, match=r"alp1 has 1 node hours left; this needs 1\.04; choose fewer"):
        demand(31, "hosts")
    demand(90, "slurm")
    with pytest.raises(Problem, match="longest walltime .* would have 91, and its limit is 90"):
        demand(91, "slurm")


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_refuses_something(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What begins a computeset, opens a console and adds an image, each in a project that may have none of it."""
    project = SimpleNamespace(id=1, name="alpha", limits={name: 0})
    nothing = usage.Usage(*[0] * len(usage.Usage._fields))
    monkeypatch.setattr(quotas.identity, "project_by_id", lambda *_, **__: project)
    monkeypatch.setattr(quotas.usage, "project_usage", lambda *_: nothing)
    monkeypatch.setattr(rest, "committed_minutes", lambda *_: 0)
    monkeypatch.setattr(image_uploads, "image_usage", lambda *_: (0, 0))
    batch = SimpleNamespace(batch=SimpleNamespace(kind="hosts"))
    change: Any = SimpleNamespace(
        session=None, call=SimpleNamespace(service=SimpleNamespace(configuration=batch))
    )
    node = COMPUTE._replace(cpus=1, memory_mb=1, disk_gb=1)
    refused = []
    for demand in (
        lambda: quotas.demand_quota(change, cluster(0, 0, 0), [node], 1),
        lambda: rest.demand_node_hours(change, cluster(0, 0, 0), 1, "alp1"),
        lambda: consoles.demand_console_quota(change.session, 1, 0),
        lambda: image_uploads.demand_image_quota(change.session, 1, 1),
    ):
        try:
            demand()
        except Problem as problem:
            refused.append(str(problem))
    begin = "alp1 has 0 node hours left" if name == "node_hours" else LIMITS[name]
    assert len(refused) == 1 and refused[0].startswith(begin), refused
