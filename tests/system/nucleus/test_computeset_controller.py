"""The controller of computesets, round by round: clocks that are set, alarms, and a process that is stopped."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from lab.simulator import Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.rocks import Rocks
from nucleus.cli.main import main
from nucleus.configuration import Configuration, DatabaseSettings, WorkSettings
from nucleus.mirror import clusters, events, operations, status
from nucleus.mirror.observations import database_now, record_source
from nucleus.mirror.pool import Guard, Pool, Session
from nucleus.operations.job import Tools
from nucleus.operations.timers import Clock
from nucleus.operations.worker import perform
from nucleus.records import SYSTEM, NewOperation
from owners.computesets import records as computesets
from owners.computesets.batch import HostList, Job, NewJob
from owners.computesets.controller import ComputesetController
from rocks.core.errors import ToolError
from rocks.core.process import end_group, start_with_pipes
from tests.system.nucleus.conftest import add_set, compute_numbers, held, sql
from tests.waiting import wait_until


@dataclass
class Hands:
    """The hands of a clock, which a test sets."""

    now: float
    since_boot: float = 1000.0
    boot: str = "first"

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.since_boot, lambda: self.boot)


@pytest.fixture
def hands() -> Hands:
    """A clock of the test's own."""
    return Hands(time.time())


@pytest.fixture
def turn(pool: Pool, hands: Hands) -> Iterator[Callable[[], None]]:
    """A round of a controller that has the lease, with four hosts."""
    with held(pool, "computesets") as guard:
        batch = HostList(pool, ["h0", "h1", "h2", "h3"])
        yield ComputesetController(Configuration(), guard, batch, hands.clock).round


def _state(pool: Pool, number: int) -> tuple[str, str | None]:
    with pool.transaction() as session:
        found = computesets.find_computeset(session, SYSTEM, number)
    return found.state, found.end_reason


class SameNumber(HostList):
    """A batch system that gives each job the same number, as Slurm after it has forgotten one."""

    def submit(self, job: NewJob, may_exist: bool) -> int:
        super().submit(job, may_exist)
        return 12

    def jobs(self, names: Collection[str]) -> list[Job]:
        return [one._replace(id=12) for one in super().jobs(names)]


class Refusing(HostList):
    """A batch system with an error for the first set's job."""

    def confirmed(self, job: Job) -> Job:
        if job.id == min(one.id for one in self.jobs(())):
            raise ToolError("it is broken")
        return job


@pytest.mark.parametrize("kind", [SameNumber, Refusing])
def test_neither_the_number_of_a_job_nor_one_sets_error_keeps_others_from_running(
    pool: Pool, cluster_number: int, kind: type[HostList]
) -> None:
    guard = Guard(pool.settings, "computesets")
    assert guard.take()
    controller = ComputesetController(Configuration(), guard, kind(pool, ["h0", "h1", "h2", "h3"]))
    with pool.transaction() as session:
        nodes = compute_numbers(session, cluster_number)
        first, second = (
            computesets.insert_computeset(
                session, computesets.NewComputeset(cluster_number, one, "ann", "alp1", None, 60, "ann")
            )
            for one in (nodes[:2], nodes[2:])
        )
    for _ in range(3):
        controller.round()
    guard.release()
    assert _state(pool, second) == ("running", None)
    assert (_state(pool, first)[0] == "running") is (kind is SameNumber)


@pytest.mark.usefixtures("hands")
def test_a_start_that_its_owner_ends_is_cancelled_and_has_not_failed(
    pool: Pool, cluster_number: int, turn: Callable[[], None]
) -> None:
    number = add_set(pool, cluster_number, 1)
    with pool.transaction() as session:
        new = NewOperation("start_set", "ann", cluster_number, target_set=number)
        asked = operations.insert_operation(session, new).id
        assert computesets.request_end(session, number, "shutdown")
    turn()
    assert _state(pool, number) == ("cancelled", "user")
    with pool.transaction() as session:
        ended = operations.find_operation(session, SYSTEM, asked)
        found = events.events_after(session, SYSTEM, 0, types=["operation.state"])
    assert ended is not None and (ended.state, ended.error) == (
        "cancelled",
        {"code": "cancelled", "detail": f"the computeset {number} was ended by its owner"},
    )
    assert [one.new for one in found] == ["cancelled"]


@pytest.mark.usefixtures("hands")
def test_starts_that_the_end_of_a_set_cancels_have_events(
    pool: Pool, cluster_number: int, turn: Callable[[], None]
) -> None:
    """Who waits for one of them is woken."""
    number = add_set(pool, cluster_number, 2)
    turn()
    turn()
    starts = sql(
        pool, "SELECT id FROM operation WHERE kind = 'start_member' AND state = 'queued' ORDER BY id"
    )
    assert len(starts) == 2 and _state(pool, number) == ("running", None)
    sql(pool, "UPDATE computeset SET cancel_requested = 'poweroff'")
    turn()
    with pool.transaction() as session:
        found = events.events_after(session, SYSTEM, 0, types=["operation.state"])
        ended = operations.find_operation(session, SYSTEM, starts[0][0])
    assert [(one.target, one.old, one.new) for one in found] == [
        (one, "queued", "cancelled") for (one,) in starts
    ]
    assert ended is not None and (ended.error or {})["detail"] == f"the computeset {number} ends"


@pytest.mark.parametrize(
    ("state", "host", "ends"),
    [
        ("nostate-error", None, True),  # it never had a host: the site could not place it
        ("nostate", "host-0", True),
        ("nostate-error", "host-0", False),  # its host does not answer
        (None, None, False),  # nobody has looked yet
    ],
)
def test_a_set_whose_node_could_not_be_started_ends_when_the_node_is_off(
    pool: Pool, cluster_number: int, turn: Callable[[], None], state: str | None, host: str | None, ends: bool
) -> None:
    number = add_set(pool, cluster_number, 1)
    for _ in range(2):
        turn()
    sql(pool, "UPDATE operation SET state = 'failed', ended = UTC_TIMESTAMP(3)")
    sql(pool, "UPDATE node SET state = %s, physical_host = %s WHERE kind = 'compute'", (state, host))
    sql(pool, "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3), observed_image = UTC_TIMESTAMP(3)")
    sql(pool, "UPDATE computeset SET cancel_requested = 'poweroff'")
    for _ in range(3):
        turn()
    assert (_state(pool, number)[0] == "cancelled") is ends


def test_a_site_that_has_a_list_of_hosts_instead_of_slurm_has_no_alarm_of_slurm(
    turn: Callable[[], None], pool: Pool
) -> None:
    with pool.transaction() as session:
        record_source(session, "scheduler", 5.0, None, 0, "slurmctld does not answer")
    turn()
    with pool.transaction() as session:
        assert ("scheduler",) not in status.gauges(session, database_now(session))["poll_failures"]


def test_an_operation_whose_target_cannot_be_read_fails(
    pool: Pool, cluster_number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would run for ever, and keep its node from everything else."""
    with pool.transaction() as session:
        node = compute_numbers(session, cluster_number)[0]
        asked = operations.insert_operation(session, NewOperation("poweron", "ann", cluster_number, node)).id
        session.execute("UPDATE operation SET state = 'running', worker = 'test', attempts = 1")
        claimed = operations.find_operation(session, SYSTEM, asked)
    assert claimed is not None
    monkeypatch.setattr(clusters, "nodes_by_id", lambda *_: [][0])
    perform(Tools(pool, Rocks(Simulator(1), 60), WorkSettings(), threading.Event()), claimed)
    with pool.transaction() as session:
        done = operations.find_operation(session, SYSTEM, asked)
    assert done is not None and (done.state, (done.error or {})["code"]) == ("failed", "bug")


@pytest.mark.usefixtures("hands")
def test_a_round_has_as_many_statements_for_four_sets_as_for_one(
    pool: Pool, cluster_number: int, turn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = list[str]()
    run = Session._run  # noqa: SLF001

    def counted(session: Session, sql: str, values: Sequence[object]) -> object:
        statements.append(sql)
        return run(session, sql, values)

    def of_a_quiet_round() -> int:
        for _ in range(4):
            turn()
        statements.clear()
        turn()
        return len(statements)

    monkeypatch.setattr(Session, "_run", counted)
    with pool.transaction() as session:
        nodes = compute_numbers(session, cluster_number)

    def start(node: int) -> int:
        with pool.transaction() as session:
            new = computesets.NewComputeset(cluster_number, (node,), "ann", "alp1", None, 60, "ann")
            return computesets.insert_computeset(session, new)

    first = start(nodes[0])
    alone = of_a_quiet_round()
    others = [start(node) for node in nodes[1:]]
    assert of_a_quiet_round() == alone
    assert {_state(pool, number) for number in (first, *others)} == {("running", None)}
    with pool.transaction() as session:
        assert computesets.request_end(session, others[0], "poweroff")
    turn()
    assert _state(pool, others[0]) == ("ending", "user"), "the end of one is seen"


def test_setting_the_time_ends_no_set(
    pool: Pool, cluster_number: int, hands: Hands, turn: Callable[[], None]
) -> None:
    number = add_set(pool, cluster_number, 2)
    for day in (0, 1, -2):
        hands.now += day * 86400
        hands.since_boot += 30
        for _ in range(3):
            turn()
        assert _state(pool, number) == ("running", None)
    hands.since_boot += 3600
    turn()
    assert _state(pool, number) == ("ending", "walltime")


@pytest.mark.parametrize("boots", [("first", "second"), ("", "")], ids=["another", "unknown"])
def test_after_a_boot_the_time_of_day_counts(
    pool: Pool, cluster_number: int, hands: Hands, turn: Callable[[], None], boots: tuple[str, str]
) -> None:
    hands.boot = boots[0]
    number = add_set(pool, cluster_number, 1)
    for _ in range(3):
        turn()
    hands.boot, hands.since_boot, hands.now = boots[1], 20.0, hands.now + 3000
    turn()
    assert _state(pool, number) == ("running", None)
    hands.since_boot, hands.now = 630.0, hands.now + 610
    turn()
    assert _state(pool, number) == ("ending", "walltime")


@pytest.mark.usefixtures("environment")
def test_a_compute_that_is_on_without_a_set_gives_an_alarm_until_it_is_off(
    pool: Pool,
    cluster_number: int,
    hands: Hands,
    turn: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    service_locks: list[Guard],  # held, as by a service
) -> None:
    number = add_set(pool, cluster_number, 1)

    def switch(state: str, condition: str) -> None:
        sql(pool, "UPDATE node SET state = %s WHERE " + condition, (state,))
        hands.since_boot += 31
        turn()

    def alarms(
        kind: str = "vm-on-without-job",
    ) -> tuple[list[tuple[str, str | None, str | None]], float]:
        with pool.transaction() as session:
            found = [
                (one.target, one.old, one.new)
                for one in events.events_after(session, SYSTEM, 0, types=["alarm"])
            ]
            values = status.gauges(session, database_now(session))["alarms"]
        return found, values[kind,]

    for _ in range(2):
        turn()
    assert _state(pool, number) == ("running", None)
    sql(pool, "UPDATE node SET physical_host = 'H0' WHERE name = 'vm-vc2-0'")  # names of hosts have no case
    switch("active", "kind = 'frontend' OR name = 'vm-vc2-0'")
    assert alarms() == ([], 0), "a frontend, and a compute of a set"
    with pool.transaction() as session:
        for source in (*commands.SOURCES, commands.LIBRARY):
            record_source(session, source.name, 0.1, database_now(session), 1, None)
    assert main(["status"]) == 0
    assert "alarm" not in capsys.readouterr().out
    begun = ("vc2/vm-vc2-3", None, "vm-on-without-job")
    switch("active", "name = 'vm-vc2-3'")
    switch("active", "name = 'vm-vc2-3'")
    assert alarms() == ([begun], 1), "once"
    assert main(["status"]) == 1
    printed = capsys.readouterr().out
    assert "alarm: vc2/vm-vc2-3 is on, on host-3" in printed and "rocks stop host vm vm-vc2-3\n" in printed
    sql(pool, "UPDATE node SET missing_polls = 1 WHERE name = 'vm-vc2-3'")
    assert main(["status"]) == 0, "the last poll did not list it: its cluster was removed"
    capsys.readouterr()
    sql(pool, "UPDATE node SET missing_polls = 0")
    switch("nostate-error", "name = 'vm-vc2-3'")
    assert main(["status"]) == 1, "its host does not answer"
    assert "alarm: no state is known of 1 machine on host-3: rocks list site\n" in capsys.readouterr().out
    assert alarms("machine-without-state")[1] == 1
    switch("nostate", "name = 'vm-vc2-3'")
    assert alarms() == ([begun, ("vc2/vm-vc2-3", "vm-on-without-job", None)], 0)
    sql(pool, "UPDATE node SET physical_host = 'host-0' WHERE name = 'vm-vc2-0'")
    switch("active", "name = 'vm-vc2-0'")
    moved = ("vc2/vm-vc2-0", None, "vm-on-without-job")
    assert (alarms()[0][-1], alarms()[1]) == (moved, 1), "an operator has moved it to a host of others"
    sql(pool, "UPDATE computeset SET degraded = TRUE, context = JSON_SET(context, '$.hosts', JSON_ARRAY())")
    for state in ("created", "submitted", "running"):
        sql(pool, "UPDATE computeset SET state = %s", (state,))
        assert alarms()[1] == 1, "the job has no hosts yet, or has lost this one"
        assert main(["status"]) == 1
        back = "move it back (rocks move host vm vm-vc2-0), or " if state == "running" else ""
        expected = f"computeset {number} does not have that host: {back}rocks stop host vm vm-vc2-0\n"
        assert f"on host-0, and {expected}" in capsys.readouterr().out
    for is_gone, count in (("false", 0), ("true", 1)):
        ended = f"JSON_SET(context, '$.job_gone', JSON_EXTRACT('{is_gone}', '$'))"
        sql(pool, f"UPDATE computeset SET state = 'ending', context = {ended}")
        assert alarms()[1] == count


_HOLDER = """
import sys
from nucleus.configuration import DatabaseSettings
from nucleus.mirror.pool import Guard
from rocks.core.errors import RocksError

guard = Guard(DatabaseSettings(*sys.argv[1:]), "poller", 1)
print(guard.take(), flush=True)
sys.stdin.readline()
try:
    with guard.transaction() as session:
        session.execute("INSERT INTO project (name) VALUES ('late')")
    print("written", flush=True)
except RocksError as error:
    print(type(error).__name__, flush=True)
print(guard.take(), flush=True)
"""


@pytest.mark.slow
def test_a_process_that_is_stopped_loses_its_lease_and_writes_nothing_when_it_goes_on(
    pool: Pool, nucleus_settings: DatabaseSettings
) -> None:
    one = nucleus_settings
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    stopped = start_with_pipes([sys.executable, "-c", _HOLDER, one.socket, one.name, one.user], environment)
    try:
        assert stopped.stdout.readline() == b"True\n"
        stopped.send_signal(signal.SIGSTOP)
        second = Guard(nucleus_settings, "poller")
        wait_until(second.take, "the end of the lease")
        stopped.send_signal(signal.SIGCONT)
        stopped.stdin.write(b"go on\n")
        stopped.stdin.flush()
        assert stopped.stdout.readline() == b"HostError\n"
        assert stopped.stdout.readline() == b"False\n", "another one has it"
        with second.transaction() as session:
            assert session.row("SELECT 1 FROM project WHERE name = 'late'") is None
        second.release()
    finally:
        end_group(stopped)


def _warnings(pool: Pool) -> list[str]:
    """The targets of the warnings so far."""
    with pool.transaction() as session:
        return [one.target for one in events.events_after(session, SYSTEM, 0, types=["set.ends"])]


def _set_of(pool: Pool, cluster: int, first: int, minutes: int) -> int:
    """A set of one node."""
    with pool.transaction() as session:
        nodes = compute_numbers(session, cluster)[first : first + 1]
        new = computesets.NewComputeset(cluster, nodes, "ann", "alp1", None, minutes, "ann")
        return computesets.insert_computeset(session, new)


def test_owners_are_warned_once_an_hour_before_an_end_and_again_after_an_extension(
    pool: Pool, cluster_number: int, hands: Hands, guard: Guard
) -> None:
    """Also where the service was restarted meanwhile."""
    long, short = _set_of(pool, cluster_number, 0, 180), _set_of(pool, cluster_number, 1, 60)

    def later(minutes: int) -> list[str]:
        hands.now, hands.since_boot = hands.now + minutes * 60, hands.since_boot + minutes * 60
        controller = ComputesetController(Configuration(), guard, HostList(pool, ["h0", "h1"]), hands.clock)
        for _ in range(3):
            controller.round()
        return _warnings(pool)

    assert later(0) == later(50) == []
    assert later(65) == []
    assert _state(pool, short)[0] != "running" and _state(pool, long)[0] == "running"
    assert later(10) == [str(long)], "the shorter one never was"
    assert later(10) == [str(long)]
    extend = NewOperation(
        "extend_set", "ann", cluster_number, target_set=long, arguments={"minutes": 180 + 240}
    )
    with pool.transaction() as session:
        asked = operations.insert_operation(session, extend).id
        session.execute("UPDATE operation SET state = 'running', worker = 'test' WHERE id = %s", (asked,))
        claimed = operations.find_operation(session, SYSTEM, asked)
    assert claimed is not None
    perform(Tools(pool, Rocks(Simulator(1), 60), WorkSettings(), threading.Event()), claimed)
    assert later(60) == [str(long)]
    assert later(180) == [str(long)] * 2
    ((end,),) = sql(pool, "SELECT MAX(new) FROM event WHERE type = 'set.ends'")
    ((known,),) = sql(pool, "SELECT walltime_end FROM computeset WHERE id = %s", (long,))
    assert datetime.fromisoformat(end) == known


def test_a_merged_set_is_warned_of_at_each_end_of_its_parts_and_of_the_same_end_once(
    pool: Pool, cluster_number: int, hands: Hands, turn: Callable[[], None]
) -> None:
    first, second, last = (
        _set_of(pool, cluster_number, node, minutes) for node, minutes in enumerate((120, 121, 240))
    )
    for _ in range(3):
        turn()
    with pool.transaction() as session:
        computesets.merge(session, first, second)
        computesets.merge(session, first, last)
    for minutes, count in ((65, 1), (50, 1), (75, 2)):
        hands.now, hands.since_boot = hands.now + minutes * 60, hands.since_boot + minutes * 60
        for _ in range(3):
            turn()
        assert _warnings(pool) == [str(first)] * count, minutes


def test_an_end_that_its_owner_asks_for_is_no_warning(
    pool: Pool, cluster_number: int, hands: Hands, turn: Callable[[], None]
) -> None:
    number = _set_of(pool, cluster_number, 0, 180)
    for _ in range(3):
        turn()
    with pool.transaction() as session:
        assert computesets.request_end(session, number, "shutdown")
    hands.now, hands.since_boot = hands.now + 130 * 60, hands.since_boot + 130 * 60
    for _ in range(3):
        turn()
    assert _warnings(pool) == []
