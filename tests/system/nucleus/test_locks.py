"""In which order rows are locked: the poller and workers wait for an owner's change, and none is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nucleus.backends.rocks import Rocks
from nucleus.backends.simulator import Simulator
from nucleus.configuration import Configuration
from nucleus.mirror import clusters, events, observations
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, NewEvent
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

_WAITING = (
    "SELECT 1 FROM information_schema.GLOBAL_STATUS"
    " WHERE variable_name = 'Innodb_row_lock_current_waits' AND variable_value > 0"
)


@pytest.fixture
def guard(pool: Pool) -> Iterator[Guard]:
    """The poller's lease."""
    one = Guard(pool.settings, "poller", "test")
    assert one.take()
    yield one
    one.release()


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
    pool: Pool, guard: Guard, store: Callable[[Poller, Pool], None]
) -> None:
    simulator = Simulator()
    poller = Poller(Configuration(), Rocks(simulator, 60), guard)
    poller.poll()
    simulator.run(["start", "host", "vm", "vc1"], 60)
    with ThreadPoolExecutor(1) as threads:
        with pool.transaction() as session:
            cluster = clusters.find_cluster(session, SYSTEM, "vc1", True)
            assert cluster is not None
            stored = threads.submit(store, poller, pool)
            wait_until(lambda: sql(pool, _WAITING), "nobody waits for the row of the cluster", 20)
            node = clusters.find_node(session, SYSTEM, cluster.id, None, True)
            assert node is not None and node.state != "active"
            events.append_events(session, [NewEvent("operation.state", "1", None, "queued")])
        stored.result(60)
    with pool.transaction() as session:
        found = clusters.find_node(session, SYSTEM, cluster.id, None)
        assert found is not None and found.state == "active"
        kinds = [one.type for one in events.events_after(session, SYSTEM, 0)]
    assert kinds[-2:] == ["operation.state", "node.power"]
