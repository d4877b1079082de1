"""What changes while a poll lists or writes: the newer one counts."""

import time

import pytest

from lab.simulator import Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.mirror import clusters, events, identity, observations
from nucleus.mirror.pool import Pool, Session
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, Node
from owners.images import records as images
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.test_poller import poller, simulator

__all__ = ["poller", "simulator"]


def nodes(pool: Pool) -> dict[str, Node]:
    """Those of all clusters, by name."""
    with pool.transaction() as session:
        found = clusters.list_clusters(session, SYSTEM)
        of_each = clusters.nodes_of(session, SYSTEM, [one.id for one in found])
    return {node.name: node for of_one in of_each.values() for node in of_one}


def generation(pool: Pool) -> int:
    """That of vc1."""
    ((number,),) = sql(pool, "SELECT generation FROM cluster WHERE name = 'vc1'")
    return int(number)


def test_a_poll_that_was_begun_before_a_command_does_not_undo_it(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    poller.poll()
    node = nodes(pool)["vc1"]

    def started_meanwhile() -> Answer:
        answer = simulator.run(["list", "host", "vm", "json=yes"], 60)
        with pool.transaction() as session:
            observations.record_state(session, node, "vc1", None, "active", node.physical_host)
        return answer

    simulator.faults.append((("list", "host", "vm"), started_meanwhile))
    poller.poll()
    assert nodes(pool)["vc1"].state == "active"
    poller.poll()
    assert nodes(pool)["vc1"].state == "nostate"


def test_a_command_that_ends_between_reading_and_writing_is_not_undone(
    poller: Poller, pool: Pool, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison of a large site takes a second."""
    simulator.run(["start", "host", "vm", "vc1"], 60)
    poller.poll()
    simulator.guests["vc1"].state = "nostate"
    node, read = nodes(pool)["vc1"], images.references

    def started_meanwhile(session: Session) -> dict[str, str]:
        with pool.transaction() as other:
            images.record_iso(other, node, "public/new.iso")
            observations.record_state(other, node, "vc1", None, "active", "vm-container-0-3")
        return read(session)

    with monkeypatch.context() as patched:
        patched.setattr(images, "references", started_meanwhile)
        poller.poll([commands.VM])
    found = nodes(pool)["vc1"]
    assert (found.state, found.physical_host, found.iso) == ("active", "vm-container-0-3", "public/new.iso")
    with pool.transaction() as session:
        written = events.events_after(session, SYSTEM, 0, types=["node.power"])
    assert [one.new for one in written] == [], "nothing of it has changed"
    time.sleep(0.01)  # the database counts milliseconds
    poller.poll([commands.VM])
    assert nodes(pool)["vc1"].state == "nostate"


def test_a_state_that_a_worker_reads_after_a_poll_is_a_change(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    simulator.run(["start", "host", "vm", "vc1"], 60)
    poller.poll()
    node = nodes(pool)["vc1"]
    simulator.run(["stop", "host", "vm", "vc1", "action=poweroff"], 60)
    poller.poll()
    before = generation(pool)
    with pool.transaction() as session:
        last = events.last_event(session)
        observations.record_state(session, node, "vc1", None, "active", node.physical_host)
    assert generation(pool) == before + 1, "owners would read a text that was kept"
    with pool.transaction() as session:
        found = events.events_after(session, SYSTEM, last)
    assert [(one.target, one.old, one.new) for one in found] == [("vc1/vc1", "nostate", "active")]


def test_an_event_is_seen_by_those_who_have_the_cluster_when_it_is_written(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """The commands of a poll may take minutes; the cluster is given to a project meanwhile."""
    poller.poll()
    simulator.run(["start", "host", "vm", "vc1"], 60)

    def assigned_meanwhile() -> Answer:
        with pool.transaction() as session:
            project = identity.add_project(session, "alpha")
            session.update("cluster", {"project_id": project}, name="vc1")
        return simulator.run(["list", "host", "vm", "json=yes"], 60)

    simulator.faults.append((("list", "host", "vm"), assigned_meanwhile))
    poller.poll([commands.VM])
    with pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        found = events.events_after(session, SYSTEM, 0, types=["node.power"])
    assert project is not None and [one.project_id for one in found] == [project.id]


def test_an_image_that_is_removed_while_the_library_is_listed_does_not_return(
    poller: Poller, pool: Pool, simulator: Simulator
) -> None:
    """Owners were offered it until the next poll, and their next start failed."""
    simulator.library["debian-12.iso"] = 700
    poller.poll([commands.LIBRARY])
    ((number,),) = sql(pool, "SELECT id FROM image")

    def removed_meanwhile() -> Answer:
        answer = simulator.run(["list", "image", "json=yes"], 60)
        simulator.run(["remove", "image", "debian-12.iso"], 60)
        with pool.transaction() as session:
            images.remove_image(session, number)
        return answer

    simulator.faults.append((("list", "image"), removed_meanwhile))
    poller.poll([commands.LIBRARY])
    assert sql(pool, "SELECT name FROM image") == []
    simulator.library["debian-12.iso"] = 700
    poller.poll([commands.LIBRARY])
    assert sql(pool, "SELECT name FROM image") == [("debian-12.iso",)], "an operator has imported it anew"
