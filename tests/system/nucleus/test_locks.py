"""In which order rows are locked: the poller and workers wait for an owner's change, and none is refused."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.simulator import Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration
from nucleus.mirror import clusters, events, observations, operations
from nucleus.mirror.claims import Claimant
from nucleus.mirror.pool import Guard, Pool, Session
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, NewEvent, NewOperation
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

_WAITING = (
    "SELECT 1 FROM information_schema.GLOBAL_STATUS"
    " WHERE variable_name = 'Innodb_row_lock_current_waits' AND variable_value >= %s"
)


def _poll_again(poller: Poller, _: Pool) -> None:
    """The poll finds that the frontend was started."""
    poller.poll()


def _record_state(_: Poller, pool: Pool) -> None:
    """A worker has started the frontend."""
    with pool.transaction() as session:
        found = clusters.find_cluster(session, SYSTEM, "vc1")
        assert found is not None
        node = clusters.find_node(session, SYSTEM, found.id, None)
        assert node is not None
    with pool.transaction() as session:
        observations.record_state(session, node, "vc1", None, "active", node.physical_host)


@pytest.mark.parametrize("store", [_poll_again, _record_state])
def test_an_owners_change_that_has_begun_comes_to_its_end(
    pool: Pool, lease: Guard, store: Callable[[Poller, Pool], None]
) -> None:
    simulator = Simulator()
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    simulator.run(["start", "host", "vm", "vc1"], 60)
    with ThreadPoolExecutor(1) as threads:
        with pool.transaction() as session:
            cluster = clusters.find_cluster(session, SYSTEM, "vc1", True)
            assert cluster is not None
            stored = threads.submit(store, poller, pool)
            wait_until(lambda: sql(pool, _WAITING, [1]), "nobody waits for the row of the cluster", 20)
            node = clusters.find_node(session, SYSTEM, cluster.id, None, True)
            assert node is not None and node.state != "active"
            events.append_events(session, [NewEvent("operation.state", "1", None, "queued")])
        stored.result(60)
    with pool.transaction() as session:
        found = clusters.find_node(session, SYSTEM, cluster.id, None)
        assert found is not None and found.state == "active"
        kinds = [one.type for one in events.events_after(session, SYSTEM, 0)]
    assert kinds[-2:] == ["operation.state", "node.power"]


def test_a_poll_does_not_undo_a_command_that_ends_while_it_is_written(
    pool: Pool, lease: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment of the command is after the begin of the poll's transaction, which reads its node."""
    poller, load = Poller(Configuration(), Rocks(Simulator(), 60), lease), observations.load_nodes
    poller.poll()

    def started_meanwhile(*given: Any, **named: Any) -> dict[int, observations.KnownNode]:
        time.sleep(0.01)  # the database counts milliseconds
        _record_state(poller, pool)
        return load(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(observations, "load_nodes", started_meanwhile)
        poller.poll([commands.VM])
    assert sql(pool, "SELECT state FROM node WHERE rocks_name = 'vc1'") == [("active",)]


def test_a_poll_and_a_removal_of_the_same_node_wait_for_each_other_in_one_order(
    pool: Pool, lease: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll counts the node as missing, because the worker has removed it from the site, and notes that now."""
    simulator = Simulator()
    poller, record = Poller(Configuration(), Rocks(simulator, 60), lease), observations.record_observed
    poller.poll()
    ((node, cluster),) = sql(pool, "SELECT id, cluster_id FROM node WHERE rocks_name = 'vm-vc1-0'")
    simulator.run(["remove", "host", "vm", "vm-vc1-0"], 60)
    removed = []

    def remove() -> None:
        with pool.transaction() as session:
            clusters.remove_nodes(session, cluster, [node], with_cluster=False)

    def removed_meanwhile(*given: Any) -> None:
        removed.append(threads.submit(remove))
        wait_until(lambda: sql(pool, _WAITING, [1]), "the worker does not wait for the poll", 20)
        record(*given)

    with ThreadPoolExecutor(1) as threads, monkeypatch.context() as patched:
        patched.setattr(observations, "record_observed", removed_meanwhile)
        poller.poll()
        removed[0].result(60)
    assert sql(pool, "SELECT gone_at IS NOT NULL FROM node WHERE id = %s", [node]) == [(1,)]


_SET = 7
_ASKED = NewOperation("poweron", "ann", None, 1, _SET)


def _ask_again(session: Session) -> object:
    """An owner asks for the same once more; whether that is an operation of its own."""
    return operations.insert_operation(session, _ASKED).state == "queued"


def _end_set(session: Session) -> object:
    """The controller ends what is still queued of a set."""
    return not operations.end_set_operations(session, _SET, "poweron", None, ["queued"])


@pytest.mark.parametrize("ask", [_ask_again, _end_set])
def test_an_operation_is_claimed_while_others_look_for_it(
    pool: Pool, cluster_number: int, ask: Callable[[Session], object]
) -> None:
    """Both wait for the operation, the worker first; when it has it, it changes the indexes by which they look."""
    with pool.transaction() as session:
        for _ in range(30):  # so many that a set is looked for by its index
            operations.record_done(session, NewOperation("poweron", "ann"), {})
        asked = operations.insert_operation(session, _ASKED)

    def in_transaction(act: Callable[[Session], object]) -> object:
        with pool.transaction() as session:
            return act(session)

    with ThreadPoolExecutor(2) as threads:
        with pool.transaction() as session:
            session.row("SELECT id FROM operation WHERE id = %s FOR UPDATE", (asked.id,))
            claimed = threads.submit(in_transaction, Claimant("w1", 4, 4, ["poweron"]).claim)
            wait_until(lambda: sql(pool, _WAITING, [1]), "the worker does not wait", 20)
            other = threads.submit(in_transaction, ask)
            wait_until(lambda: sql(pool, _WAITING, [2]), "the other does not wait", 20)
        assert other.result(60), "it was claimed before"
        assert claimed.result(60) is not None
