"""A computeset that ends: what owners have asked of its nodes neither keeps it nor reaches the next one.

Also where a node of a running one is started.
"""

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from lab.simulator import Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, WorkSettings
from nucleus.mirror import clusters, events, operations
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.job import Tools
from nucleus.operations.timers import Clock
from nucleus.operations.worker import perform
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, NewOperation, Operation
from owners.computesets import records as computesets
from owners.computesets.batch import HostList
from owners.computesets.controller import ComputesetController
from rocks.core.errors import HostError
from tests.system.nucleus.conftest import add_cluster, add_set, compute_numbers, run_on, sql


@pytest.fixture
def turn(pool: Pool, guard: Guard) -> Callable[[], object]:
    """A round of the controller, with four hosts."""
    return ComputesetController(Configuration(), guard, HostList(pool, ["h0", "h1", "h2", "h3"])).round


def ask(pool: Pool, new: NewOperation) -> Operation:
    with pool.transaction() as session:
        return operations.insert_operation(session, new)


def look(pool: Pool, operation: Operation) -> Operation:
    with pool.transaction() as session:
        found = operations.find_operation(session, SYSTEM, operation.id)
    assert found is not None
    return found


def done(pool: Pool, simulator: Simulator, operation: Operation) -> Operation:
    """The operation after a worker has had its turn."""
    sql(
        pool,
        "UPDATE operation SET state = 'running', worker = 't', attempts = 1 WHERE id = %s",
        (operation.id,),
    )
    perform(Tools(pool, Rocks(simulator, 60), WorkSettings(), threading.Event()), look(pool, operation))
    return look(pool, operation)


def test_what_is_queued_for_its_nodes_is_cancelled(
    pool: Pool, cluster_number: int, turn: Callable[[], object]
) -> None:
    """Operations of a node are done in their order: hundreds of them would keep its hosts long after the walltime."""
    number = add_set(pool, cluster_number, 2)
    for _ in range(2):
        turn()
    with pool.transaction() as session:
        first, second, other, _ = compute_numbers(session, cluster_number)
        session.execute("UPDATE operation SET state = 'succeeded'")
    kinds = ("attach_iso", "reset", "reboot", "poweroff", "shutdown", "poweron")
    runs = ask(pool, NewOperation("attach_iso", "ann", cluster_number, second))
    sql(pool, "UPDATE operation SET state = 'running', worker = 't' WHERE id = %s", (runs.id,))
    queued = [ask(pool, NewOperation(kind, "ann", cluster_number, first, number)) for kind in kinds]
    part = ask(pool, NewOperation("attach_iso", "ann", cluster_number, second, unique_key="parent/2"))
    others = ask(pool, NewOperation("attach_iso", "ann", cluster_number, other))
    sql(pool, "UPDATE computeset SET cancel_requested = 'poweroff'")
    turn()
    for one in (*queued, part):
        ended = look(pool, one)
        detail = (ended.error or {}).get("detail")
        assert (ended.state, detail) == ("cancelled", f"the computeset {number} ends"), ended.kind
    assert (look(pool, runs).state, look(pool, others).state) == ("running", "queued")
    with pool.transaction() as session:
        found = events.events_after(session, SYSTEM, 0, types=["operation.state"])
    assert {one.target for one in found if one.new == "cancelled"} >= {one.id for one in (*queued, part)}
    stops = sql(pool, "SELECT COUNT(*) FROM operation WHERE kind = 'poweroff_member' AND state = 'queued'")
    assert stops == [(2,)]


def test_an_image_that_was_meant_for_many_nodes_takes_no_time_of_one_whose_set_ends(
    pool: Pool, cluster_number: int
) -> None:
    add_set(pool, cluster_number, 1)
    simulator = Simulator(2)
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
    for state, expected in (("ending", "failed"), ("running", "succeeded")):
        sql(pool, "UPDATE computeset SET state = %s", (state,))
        attached = done(pool, simulator, ask(pool, NewOperation("attach_iso", "ann", cluster_number, node)))
        assert attached.state == expected, attached.error
        assert bool(simulator.commands) is (expected == "succeeded")


@pytest.mark.parametrize("kind", ["shutdown_member", "poweroff_member"])
def test_a_node_that_has_crashed_is_stopped_so_that_its_image_is_written_back(
    pool: Pool, cluster_number: int, kind: str
) -> None:
    number, simulator = add_set(pool, cluster_number, 1), Simulator(2)
    guest = simulator.guests["vm-vc2-0"]
    guest.state, guest.host, guest.image = "crashed", "vm-container-1-0", "mapped"
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        session.execute("UPDATE node SET state = 'crashed' WHERE id = %s", (node,))
    stopped = done(pool, simulator, ask(pool, NewOperation(kind, "ann", cluster_number, node, number)))
    assert (stopped.state, stopped.result) == ("succeeded", {"state": "nostate"}), stopped.error
    assert guest.image == "unmapped"


_LOST = "degraded = TRUE, context = JSON_SET(context, '$.hosts', JSON_ARRAY('host-1'))"


@pytest.mark.parametrize(
    ("kind", "change", "ends", "detail"),
    [
        ("start_member", "cancel_requested = 'shutdown'", "cancelled", "ended by its owner"),
        ("start_member", _LOST, "failed", "the site took the host of vm-vc2-0 from computeset"),
        ("poweron", _LOST, "failed", "the site took the host of vm-vc2-0 from computeset"),
    ],
)
def test_a_node_of_a_set_that_has_ended_or_lost_its_host_is_not_started(
    pool: Pool, cluster_number: int, kind: str, change: str, ends: str, detail: str
) -> None:
    asked, simulator = _of_running_set(pool, cluster_number, kind, "host-9"), Simulator(2)
    sql(pool, f"UPDATE computeset SET {change}")
    refused = done(pool, simulator, asked)
    assert refused.state == ends and not simulator.commands
    assert detail in (refused.error or {})["detail"]


@pytest.mark.parametrize("kind", ["poweron", "start_member"])
def test_a_node_that_operators_have_moved_is_started_on_its_host_of_the_set(
    pool: Pool, cluster_number: int, kind: str
) -> None:
    """The host that it was moved to may be another user's."""
    own, other, simulator = "vm-container-1-0", "vm-container-1-1", Simulator(2)
    asked, guest = _of_running_set(pool, cluster_number, kind, own), simulator.guests["vm-vc2-0"]
    guest.host = other
    sql(pool, "UPDATE node SET physical_host = %s WHERE name = 'vm-vc2-0'", (other,))
    started = done(pool, simulator, asked)
    assert started.state == "succeeded", started.error
    assert (guest.host, guest.state) == (own, "active")
    assert sql(pool, "SELECT physical_host FROM node WHERE name = 'vm-vc2-0'") == [(own,)]


def _of_running_set(pool: Pool, cluster_number: int, kind: str, host: str) -> Operation:
    """An operation on the node of a set, whose job has given it the host."""
    number = add_set(pool, cluster_number, 1)
    run_on(pool, number, host, [host])
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
    arguments = {"host": host} if kind == "start_member" else {}
    return ask(pool, NewOperation(kind, "ann", cluster_number, node, number, arguments=arguments))


@pytest.mark.parametrize("kind", ["reset", "reboot"])
def test_a_reset_of_a_set_that_has_ended_does_not_reach_the_next_one(
    pool: Pool, cluster_number: int, kind: str
) -> None:
    """It waited for its turn, and the same nodes are in another set by then."""
    former, simulator = add_set(pool, cluster_number, 1), Simulator(2)
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        session.execute("UPDATE computeset SET state = 'cancelled', cancel_requested = 'poweroff'")
        computesets.release_nodes(session, former)
    present = add_set(pool, cluster_number, 1)
    sql(pool, "UPDATE computeset SET state = 'running' WHERE id = %s", (present,))
    sql(pool, "UPDATE node SET state = 'active' WHERE id = %s", (node,))
    simulator.guests["vm-vc2-0"].state, simulator.guests["vm-vc2-0"].host = "active", "vm-container-1-0"
    late = done(pool, simulator, ask(pool, NewOperation(kind, "ann", cluster_number, node, former)))
    assert late.state == "cancelled" and simulator.commands == []
    assert (late.error or {})["detail"] == (
        f"the computeset {former} was ended by its owner; the {kind} was not done"
    )
    sql(pool, "UPDATE computeset SET cancel_requested = NULL, state = 'completed' WHERE id = %s", (former,))
    late = done(pool, simulator, ask(pool, NewOperation(kind, "ann", cluster_number, node, former)))
    assert late.state == "failed" and "is completed; the" in (late.error or {})["detail"]
    own = done(pool, simulator, ask(pool, NewOperation(kind, "ann", cluster_number, node, present)))
    assert own.state == "succeeded", own.error


def ending(pool: Pool, turn: Callable[[], object], name: str) -> int:
    """A set of the compute of a cluster, which ends, and whose stop is done."""
    ((cluster,),) = sql(pool, "SELECT id FROM cluster WHERE name = %s", (name,))
    number = add_set(pool, cluster, 1)
    for _ in range(2):
        turn()
    sql(pool, "UPDATE computeset SET cancel_requested = 'poweroff' WHERE id = %s", (number,))
    turn()
    sql(pool, "UPDATE node SET last_command_at = UTC_TIMESTAMP(3) WHERE cluster_id = %s", (cluster,))
    sql(pool, "UPDATE operation SET state = 'succeeded'")
    # a poll that begins in the millisecond of a command does not know whether it was before
    time.sleep(0.005)
    return number


def states(pool: Pool, turn: Callable[[], object]) -> list[str]:
    """Of all sets, when the controller has seen everything."""
    for _ in range(3):
        turn()
    return [state for (state,) in sql(pool, "SELECT state FROM computeset ORDER BY id")]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_set_ends_although_the_clock_was_set_back(
    pool: Pool, lease: Guard, turn: Callable[[], object], is_restarted: bool
) -> None:
    """By an hour, after its stop: then power and images must have been listed once more."""
    rocks = Rocks(Simulator(1, 1), 60)
    poller = Poller(Configuration(), rocks, lease)
    poller.poll()
    ending(pool, turn, "vc1")
    sql(pool, "UPDATE node SET last_command_at = UTC_TIMESTAMP(3) + INTERVAL 60 MINUTE")
    for kind in ("power", "image"):
        sql(pool, f"UPDATE cluster SET observed_{kind} = UTC_TIMESTAMP(3) + INTERVAL 59 MINUTE")
    if is_restarted:
        poller = Poller(Configuration(), rocks, lease)
    else:
        assert poller._known_at is not None
        poller._known_at += timedelta(hours=1)
    poller.poll([commands.VM])
    assert states(pool, turn) == ["ending"]
    poller.poll()
    assert states(pool, turn) == ["cancelled"]


def test_a_set_does_not_end_while_the_nas_of_its_images_does_not_answer(
    pool: Pool, lease: Guard, turn: Callable[[], object]
) -> None:
    """What is known of its images is from before its machines were started; other sets end."""
    simulator = Simulator(2, 1)
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    for name in ("vc1", "vc2"):
        ending(pool, turn, name)
    (listed,) = json.loads(simulator.run(["list", "host", "storagemap", "json=yes"], 60).out)
    listed["storagemap"] = [row for row in listed["storagemap"] if row["zvol"] == "vm-vc2-0-vol"]
    silent = Answer(commands.SOME_FAILED, json.dumps([listed]), "Error: nas-0-1 does not answer")
    simulator.faults.append((("list", "host", "storagemap"), lambda: silent))
    poller.poll()
    assert states(pool, turn) == ["ending", "cancelled"]
    poller.poll()
    assert states(pool, turn) == ["cancelled", "cancelled"]


def test_a_set_ends_whose_node_is_of_another_cluster_now(
    pool: Pool, lease: Guard, turn: Callable[[], object]
) -> None:
    """Its former cluster is gone, and nothing is listed of that any more: the set kept its hosts for ever."""
    simulator = Simulator(2, 1)
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    ending(pool, turn, "vc1")
    simulator.guests["vm-vc1-0"].cluster = "vc2"
    del simulator.guests["vc1"]
    for _ in range(2):
        poller.poll()
    assert sql(pool, "SELECT COUNT(gone_at) FROM cluster") == [(1,)]
    sql(pool, "UPDATE node SET last_command_at = UTC_TIMESTAMP(3)")  # its stop has ended only now
    assert states(pool, turn) == ["ending"]
    poller.poll()
    assert states(pool, turn) == ["cancelled"]


def test_a_set_does_not_end_by_a_node_that_was_read_before_its_operation_ended(
    pool: Pool, lease: Guard, turn: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its image nothing is known since, and its hosts would be another's while it is written back."""
    poller = Poller(Configuration(), Rocks(Simulator(1, 1), 60), lease)
    poller.poll()
    ending(pool, turn, "vc1")
    poller.poll()
    sql(pool, "UPDATE operation SET state = 'running', worker = 't' WHERE kind = 'poweroff_member'")
    sql(pool, "UPDATE computeset SET notes = JSON_REMOVE(notes, '$.powered_off')")  # its owner asks once more
    calls = []

    def ends_meanwhile(read: Callable[..., object]) -> Callable[..., object]:
        def reading(*given: object) -> object:
            found = read(*given)
            calls.append(read)
            if len(calls) == 3:  # the set is read again, and locked
                sql(pool, "UPDATE node SET image_state = 'NAS<-VM', last_command_at = UTC_TIMESTAMP(3)")
                sql(pool, "UPDATE operation SET state = 'succeeded'")
            return found

        return reading

    monkeypatch.setattr(clusters, "member_nodes", ends_meanwhile(clusters.member_nodes))
    monkeypatch.setattr(operations, "busy_nodes", ends_meanwhile(operations.busy_nodes))
    assert states(pool, turn) == ["ending"]
    poller.poll()
    assert states(pool, turn) == ["cancelled"]


def test_a_node_that_comes_on_in_a_set_without_hosts_is_powered_off_after_the_grace(
    pool: Pool, guard: Guard, cluster_number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator started it while the batch system was silent; its shutdown failed, and the set waited for ever."""
    now = [0.0]
    clock = Clock(lambda: now[0], lambda: now[0], lambda: "")
    turn = ComputesetController(Configuration(), guard, HostList(pool, ["h0"]), clock).round

    def silent(*_: object) -> None:
        raise HostError("it does not answer")

    monkeypatch.setattr(HostList, "jobs", silent)
    add_set(pool, cluster_number, 1)
    assert states(pool, turn) == ["submitted"]
    sql(pool, "UPDATE computeset SET cancel_requested = 'shutdown'")
    assert states(pool, turn) == ["ending"]
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
    sql(pool, "UPDATE node SET state = 'active' WHERE id = %s", (node,))
    assert states(pool, turn) == ["ending"]
    sql(pool, "UPDATE operation SET state = 'failed' WHERE kind = 'shutdown_member'")
    now[0] += Configuration().computesets.grace_seconds + 1
    assert states(pool, turn) == ["ending"]
    stops = "SELECT kind FROM operation WHERE kind IN ('shutdown_member', 'poweroff_member') ORDER BY id"
    assert sql(pool, stops) == [("shutdown_member",), ("poweroff_member",)]


def test_a_running_set_whose_cluster_the_site_removes_fails_and_leaves_its_hosts(
    pool: Pool, cluster_number: int, turn: Callable[[], object]
) -> None:
    """It was charged to the end of its walltime, and its hosts were in use, although it had no nodes."""
    number = add_set(pool, cluster_number, 2)
    for _ in range(2):
        turn()
    with pool.transaction() as session:
        one, other = (f"id = {node}" for node in compute_numbers(session, cluster_number)[:2])
    sql(pool, f"UPDATE node SET gone_at = UTC_TIMESTAMP(3) WHERE {one}")
    assert states(pool, turn) == ["running"], "the other node runs"
    sql(pool, f"UPDATE node SET gone_at = UTC_TIMESTAMP(3) WHERE {other}")
    assert states(pool, turn) == ["running"], "they may have left a cluster that is there"
    sql(pool, "UPDATE cluster SET gone_at = UTC_TIMESTAMP(3) WHERE id = %s", (cluster_number,))
    assert states(pool, turn) == ["failed"]
    assert sql(pool, "SELECT end_reason FROM computeset WHERE id = %s", (number,)) == [("removed",)]
    assert sql(pool, "SELECT COUNT(*) FROM computeset_node WHERE active = 1") == [(0,)]
    # as `nucleus host list` and the next set see them
    free = HostList(pool, ["h0", "h1", "h2", "h3"]).jobs(set())
    assert not [job for job in free if job.state == "running"]


def test_a_waiting_set_whose_cluster_the_site_removes_fails_and_takes_its_job_back(
    pool: Pool, cluster_number: int, turn: Callable[[], object]
) -> None:
    """It waited on, was given hosts that others waited for, and started what was gone."""
    add_set(pool, cluster_number, 4)
    with pool.transaction() as session:
        other = add_cluster(session, "vc3", 1, "alpha")
    number = add_set(pool, other, 1)
    assert states(pool, turn) == ["running", "submitted"]
    sql(pool, "UPDATE node SET gone_at = UTC_TIMESTAMP(3) WHERE cluster_id = %s", (other,))
    sql(pool, "UPDATE cluster SET gone_at = UTC_TIMESTAMP(3) WHERE id = %s", (other,))
    assert states(pool, turn) == ["running", "failed"]
    assert sql(pool, "SELECT end_reason FROM computeset WHERE id = %s", (number,)) == [("removed",)]
    assert sql(pool, "SELECT state, reason FROM host_job ORDER BY id DESC LIMIT 1") == [
        ("ended", "cancelled")
    ]
    assert sql(
        pool, "SELECT COUNT(*) FROM operation WHERE target_set = %s AND kind = 'start_member'", (number,)
    ) == [(0,)]
