"""Which operation a worker claims: the order within a node, hosts, and no project that keeps others waiting."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nucleus.mirror import clusters, columns, operations
from nucleus.mirror.claims import Claimant
from nucleus.mirror.pool import Guard, Pool
from nucleus.records import SYSTEM, NewOperation, Operation
from tests.system.nucleus.conftest import add_cluster, compute_numbers, held


def claimant(name: str = "w1", threads: int = 16, per_host: int = 8) -> Claimant:
    """A worker as it claims."""
    return Claimant(name, threads, per_host, ["poweron", "poweroff"])


@pytest.fixture
def lock(pool: Pool) -> Iterator[Guard]:
    """That of the worker w1, which lives as long as it is held."""
    with held(pool, "worker.w1") as guard:
        yield guard


def claim(pool: Pool, worker: Claimant) -> Operation | None:
    """What it claims, and has in hand then."""
    with pool.transaction() as session:
        found = worker.claim(session)
    if found is not None:
        worker.begin(found)
    return found


def ask(pool: Pool, cluster: int, nodes: list[int], project: str | None = None) -> list[str]:
    """Power-ons of these nodes; their identifiers."""
    with pool.transaction() as session:
        number = session.value("SELECT id FROM project WHERE name = %s", (project,))
        return [
            operations.insert_operation(
                session, NewOperation("poweron", "ann", cluster, node, project_id=number)
            ).id
            for node in nodes
        ]


def test_operations_of_a_node_are_done_in_order_and_one_at_a_time(
    pool: Pool, cluster_number: int, lock: Guard
) -> None:
    with pool.transaction() as session:
        a, b, *_ = compute_numbers(session, cluster_number)
        asked = [
            operations.insert_operation(session, NewOperation(kind, "ann", cluster_number, node))
            for kind, node in (("poweron", a), ("poweroff", a), ("poweron", b))
        ]
    one, other = claimant(), claimant("w2")
    first, second = claim(pool, one), claim(pool, one)
    assert first and second and [first.id, second.id] == [asked[0].id, asked[2].id]
    assert claim(pool, one) is None and claim(pool, other) is None, "the node is busy"
    with pool.transaction() as session:
        assert operations.store_step(session, first, {"step": "start"})
        assert not operations.cancel_operation(session, SYSTEM, first.id)
        assert operations.end_operation(session, first, {"state": "active"}, None)
        assert not operations.end_operation(session, first, None, None), "it has ended"
        assert operations.cancel_operation(session, SYSTEM, asked[1].id)
    assert claim(pool, one) is None
    lock.release()
    taken = claim(pool, other)
    assert taken and taken.id == second.id and taken.attempts == 2, "its worker has ended"
    with pool.transaction() as session:
        assert not operations.store_step(session, second, {}), "it is another worker's"


def test_parts_come_before_their_operation_which_is_not_cancelled_any_more(
    pool: Pool, cluster_number: int
) -> None:
    """It looks again every second: many of them would keep their own parts from being done."""
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        whole = NewOperation("poweron", "ann", cluster_number, arguments={"nodes": ["a", "b"]})
        first, other = (operations.insert_operation(session, whole) for _ in range(2))
        assert operations.cancel_operation(session, SYSTEM, other.id), "nobody has begun it"
        part = NewOperation("poweron", "ann", cluster_number, node, unique_key=f"{first.id}.a")
        child = operations.insert_operation(session, part)
        session.execute("UPDATE operation SET started = UTC_TIMESTAMP(3) WHERE id = %s", (first.id,))
        assert not operations.cancel_operation(session, SYSTEM, first.id)
    one = claimant()
    claimed = [claim(pool, one) for _ in range(2)]
    assert [found and found.id for found in claimed] == [child.id, first.id]


@pytest.mark.usefixtures("lock")
def test_operations_of_a_node_keep_their_order_when_the_clock_is_set_back(
    pool: Pool, cluster_number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is of another process, whose last identifier is not known here."""
    now = time.time_ns()
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        first = operations.insert_operation(session, NewOperation("poweroff", "ann", cluster_number, node))
        monkeypatch.setattr(columns, "_last", 0)
        monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
        second = operations.insert_operation(session, NewOperation("poweron", "ann", cluster_number, node))
    assert first.id < second.id
    monkeypatch.undo()
    one = claimant()
    claimed = claim(pool, one)
    assert claimed and claimed.id == first.id and claim(pool, one) is None


def test_a_host_has_few_operations_at_a_time(pool: Pool) -> None:
    with pool.transaction() as session:
        number = add_cluster(session, "vc3", 6)
        session.execute("UPDATE node SET physical_host = 'host-0'")
        nodes = [node.id for node in clusters.nodes_of(session, SYSTEM, [number])[number]]
        for node in nodes:
            operations.insert_operation(session, NewOperation("poweron", "ann", number, node))
    guards = [Guard(pool.settings, f"worker.w{number}") for number in range(7)]
    assert all(guard.take() for guard in guards)
    with ThreadPoolExecutor(4) as threads:
        claimed = list(threads.map(lambda n: claim(pool, claimant(f"w{n}", per_host=3)), range(7)))
    assert len([one for one in claimed if one]) == 3
    for guard in guards:
        guard.release()


@pytest.mark.usefixtures("lock")
def test_projects_have_their_turns(pool: Pool) -> None:
    """Of two projects that have asked for much, and one that asks for little afterwards, none waits for the others."""
    with pool.transaction() as session:
        greedy, second, little = (add_cluster(session, f"vc{n}", 8, f"p{n}") for n in range(3))
        session.execute("UPDATE node SET physical_host = NULL")
        nodes = {one: list(compute_numbers(session, one)) for one in (greedy, second, little)}
    asked = {
        one: ask(pool, one, nodes[one][:count], f"p{n}")
        for n, (one, count) in enumerate(((greedy, 8), (second, 8), (little, 1)))
    }
    one = claimant()
    order = [found.id for found in (claim(pool, one) for _ in range(5)) if found]
    first, other = asked[greedy], asked[second]
    assert order == [first[0], other[0], asked[little][0], first[1], other[1]]


@pytest.mark.usefixtures("lock")
def test_one_thread_serves_projects_in_turn(pool: Pool) -> None:
    """None has an operation that runs when the next is claimed."""
    with pool.transaction() as session:
        numbers = [add_cluster(session, f"vc{n}", 3, f"p{n}") for n in range(2)]
        nodes = [list(compute_numbers(session, one)) for one in numbers]
    asked = [ask(pool, one, of, f"p{n}") for n, (one, of) in enumerate(zip(numbers, nodes, strict=True))]
    worker, order = claimant(threads=1), []
    while found := claim(pool, worker):
        order.append(found.id)
        with pool.transaction() as session:
            assert operations.end_operation(session, found, {}, None)
        worker.end(found)
    assert order == [one for pair in zip(*asked, strict=True) for one in pair]


@pytest.mark.usefixtures("lock")
@pytest.mark.parametrize("few", [{"threads": 8, "per_host": 99}, {"threads": 99, "per_host": 8}])
def test_busy_projects_leave_room_to_others_however_many_they_are(pool: Pool, few: dict[str, int]) -> None:
    """Of eight the last two are for projects of which nothing runs."""
    with pool.transaction() as session:
        busy = [add_cluster(session, f"vc{n}", 8, f"p{n}") for n in range(2)]
        little = add_cluster(session, "vc9", 2, "p9")
        session.execute("UPDATE node SET physical_host = 'host-0'")
        nodes = {one: list(compute_numbers(session, one)) for one in (*busy, little)}
    worker = claimant(**few)
    for n, one in enumerate(busy):
        ask(pool, one, nodes[one], f"p{n}")
    assert len([found for found in (claim(pool, worker) for _ in range(8)) if found]) == 6
    first, second = ask(pool, little, nodes[little], "p9")
    found = [claim(pool, worker) for _ in range(2)]
    assert [one and one.id for one in found] == [first, None], f"{second} waits: one of its project runs"


@pytest.mark.usefixtures("lock")
def test_a_repeated_step_of_an_attempt_does_not_meet_the_next_one(pool: Pool, cluster_number: int) -> None:
    """The server has stored that it is queued again, and its answer was lost."""
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
    ask(pool, cluster_number, [node])
    worker = claimant()
    first = claim(pool, worker)
    assert first
    with pool.transaction() as session:
        assert operations.put_back(session, first, 0, None)
    worker.end(first)
    second = claim(pool, worker)
    assert second and (second.id, second.attempts) == (first.id, 2)
    with pool.transaction() as session:
        assert not operations.put_back(session, first, 0, None)
        assert not operations.store_step(session, first, {"step": "start"})
        assert not operations.end_operation(session, first, None, None)
        assert operations.end_operation(session, second, None, None)


@pytest.mark.usefixtures("lock")
def test_a_claim_whose_commit_was_not_answered_is_found_again(pool: Pool, cluster_number: int) -> None:
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
    (asked,) = ask(pool, cluster_number, [node])
    worker = claimant()
    with pool.transaction() as session:
        assert worker.claim(session)  # it is committed, and the worker does not learn of it
    found = claim(pool, worker)
    assert found and found.id == asked and found.attempts == 2
    assert claim(pool, worker) is None, "it is in hand"
    worker.end(found)
