"""Nodes and clusters are removed when they are certainly off, and count as removed when the site has them no more."""

from pathlib import Path

import pytest

from lab.simulator import Simulator
from nucleus.backends.executor import Answer
from nucleus.mirror import operations
from nucleus.mirror.pool import Pool
from nucleus.records import NewOperation, Node, Operation
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.test_operations import (
    after_a_kill,
    delays,
    ended,
    look,
    nodes,
    simulator,
    working,
)

__all__ = ["delays", "nodes", "simulator"]


def ask_destroy(pool: Pool, cluster: int, node: int | None = None) -> Operation:
    with pool.transaction() as session:
        return operations.insert_operation(session, NewOperation("destroy", "ann", cluster, node))


@pytest.mark.slow
def test_a_cluster_is_destroyed_when_all_of_it_is_off(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    simulator.run(["start", "host", "vm", "vc1"], 60)
    with working(pool, simulator):
        refused = ended(pool, ask_destroy(pool, nodes["vc1"].cluster_id))
        simulator.run(["stop", "host", "vm", "vc1", "action=poweroff"], 60)
        assert refused.state == "failed" and "power it off first" in (refused.error or {})["detail"]
        assert ended(pool, ask_destroy(pool, nodes["vc1"].cluster_id)).state == "succeeded"
    assert not simulator.guests


def test_a_machine_of_which_nothing_is_printed_does_not_count_as_off(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    """`rocks remove cluster` would stop it."""
    simulator.run(["start", "host", "vm", "vc1"], 60)
    simulator.faults.append((("list", "host", "vm"), lambda: Answer(0, "", "")))
    with working(pool, simulator):
        refused = ended(pool, ask_destroy(pool, nodes["vc1"].cluster_id))
    assert refused.state == "failed" and "power it off first" in (refused.error or {})["detail"]
    assert simulator.guests["vc1"].state == "active" and sql(pool, "SELECT COUNT(gone_at) FROM node") == [
        (0,)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    "answer", [Answer(0, "", ""), Answer(0, "[]", ""), Answer(3, "[]", "Error: no answer")]
)
def test_a_list_without_any_cluster_does_not_count_as_a_removal(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], tmp_path: Path, answer: Answer
) -> None:
    """Its worker is killed before the machines are removed, and the next one reads the list."""
    asked = ask_destroy(pool, nodes["vc1"].cluster_id)
    simulator.faults.append((("list", "cluster"), lambda: answer))
    with after_a_kill(pool, simulator, tmp_path, 6):
        assert ended(pool, asked).state == "succeeded", look(pool, asked).error
    assert not simulator.guests and not simulator.faults
    assert sql(pool, "SELECT COUNT(gone_at) FROM node") == [(5,)]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["vc1", "vm-vc1-0"])
def test_a_removal_whose_worker_is_killed_when_it_is_done_has_succeeded(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], tmp_path: Path, name: str
) -> None:
    asked = ask_destroy(pool, nodes[name].cluster_id, None if name == "vc1" else nodes[name].id)
    with after_a_kill(pool, simulator, tmp_path, 7):
        assert name not in simulator.guests
        assert ended(pool, asked).state == "succeeded", look(pool, asked).error
    assert [command[0] for command in simulator.commands] == ["remove"]
    count = 5 if name == "vc1" else 1
    assert sql(pool, "SELECT COUNT(gone_at) FROM node") == [(count,)]
    assert sql(pool, "SELECT COUNT(*) FROM event WHERE type = 'node.removed'") == [(count,)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vc1", "vm-vc1-0"])
def test_what_has_got_another_machine_s_name_since_the_last_poll_is_not_removed(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], name: str
) -> None:
    """It may be another owner's."""
    simulator.guests[name].uuid = "11111111-2222-4333-8444-555555555555"
    with working(pool, simulator):
        asked = ended(
            pool, ask_destroy(pool, nodes[name].cluster_id, None if name == "vc1" else nodes[name].id)
        )
    assert asked.state == "failed" and "replaced" in (asked.error or {})["detail"]
    assert name in simulator.guests and sql(pool, "SELECT COUNT(gone_at) FROM node") == [(0,)]
