"""Operations are done once, in order, and survive the end of their worker; the site is simulated."""

import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lab.simulator import HOSTS, Simulator
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer, Executor
from nucleus.backends.executor_service import ExecutorService
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, DatabaseSettings, WorkSettings
from nucleus.mirror import clusters, events, operations
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations import worker
from nucleus.operations.job import Job
from nucleus.operations.worker import Workers
from nucleus.poller.poller import Poller
from nucleus.records import SYSTEM, JsonObject, NewOperation, Node, Operation
from nucleus.states import ENDED_OPERATIONS
from rocks.core.errors import HostError, RocksError
from rocks.core.process import end_group, start_with_pipes
from tests.servers import answering
from tests.system.nucleus.conftest import add_set, run_on, sql
from tests.waiting import wait_until

_SETTINGS = Configuration(work=WorkSettings(threads=4, confirm_seconds=1.5))


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of repetitions: the workers wait a tenth of them, and look often for what the test has written."""
    found: list[float] = []
    put_back = Job.put_back

    def sooner(job: Job, seconds: float, error: RocksError | None = None) -> None:
        found.append(seconds)
        put_back(job, seconds / 10, error)

    monkeypatch.setattr(Job, "put_back", sooner)
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.1)
    return found


@pytest.fixture
def simulator() -> Simulator:
    """Cluster vc1 of four computes, which have hosts."""
    simulated = Simulator(1)
    for number in range(4):
        simulated.guests[f"vm-vc1-{number}"].host = "vm-container-0-1"
    return simulated


@pytest.fixture
def nodes(nucleus_settings: DatabaseSettings, simulator: Simulator, pool: Pool) -> dict[str, Node]:
    """The nodes of the mirror, after a poll."""
    guard = Guard(nucleus_settings, "poller")
    assert guard.take()
    Poller(_SETTINGS, Rocks(simulator, 60), guard).poll(commands.SOURCES)
    guard.release()
    with pool.transaction() as session:
        (found,) = clusters.list_clusters(session, SYSTEM)
        return {node.name: node for node in clusters.nodes_of(session, SYSTEM, [found.id])[found.id]}


@contextmanager
def working(pool: Pool, executor: Executor) -> Iterator[None]:
    """Workers, for the time of the block."""
    stop = threading.Event()
    workers = Workers(_SETTINGS, pool, Rocks(executor, 60))
    thread = threading.Thread(target=workers.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def ask(pool: Pool, kind: str, node: Node, **more: object) -> Operation:
    """Ask for something of a node."""
    with pool.transaction() as session:
        new = NewOperation(kind, "ann", node.cluster_id, node.id, **more)  # type: ignore[arg-type]
        return operations.insert_operation(session, new)


def look(pool: Pool, operation: Operation) -> Operation:
    """The operation now; the database may be away for a moment."""

    def found() -> Operation | None:
        with suppress(HostError), pool.transaction() as session:
            return operations.find_operation(session, SYSTEM, operation.id)
        return None

    return wait_until(found, "the database does not answer")


def ended(pool: Pool, operation: Operation) -> Operation:
    """The operation when it has ended."""
    wait_until(lambda: look(pool, operation).state in ENDED_OPERATIONS, f"the end of {operation.kind}")
    return look(pool, operation)


@pytest.mark.slow
def test_each_verb_does_what_it_says(pool: Pool, simulator: Simulator, nodes: dict[str, Node]) -> None:
    node, guest = nodes["vm-vc1-0"], simulator.guests["vm-vc1-0"]
    with working(pool, simulator):
        for verb, state in (
            ("poweron", "active"),
            ("poweron", "active"),
            ("reboot", "active"),
            ("reset", "active"),
            ("shutdown", "nostate"),
            ("poweroff", "nostate"),
        ):
            done = ended(pool, ask(pool, verb, node))
            assert (done.state, guest.state) == ("succeeded", state), (verb, done.error)
        refused = ended(pool, ask(pool, "reset", node))
    assert refused.state == "failed" and "not running" in (refused.error or {})["detail"]
    verbs = [command[0] + command[4].partition("action=")[2] for command in simulator.commands]
    assert verbs == ["start", "stopreboot", "stopreset", "stopshutdown"], "what is so is not done again"
    with pool.transaction() as session:
        found = events.events_after(session, SYSTEM, 0)
    assert [one.new for one in found if one.type == "node.power"] == ["active", "nostate"]
    assert [one.new for one in found if one.type == "operation.state"][:1] == ["succeeded"]


@pytest.mark.slow
def test_a_power_operation_is_one_process(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lines = simulator.run, list[str]()

    def noted(arguments: Sequence[str], deadline_seconds: float) -> Answer:
        lines.append(" ".join(arguments))
        return run(arguments, deadline_seconds)

    monkeypatch.setattr(simulator, "run", noted)
    with working(pool, simulator):
        for verb in ("poweron", "reset", "poweroff", "poweroff"):
            assert ended(pool, ask(pool, verb, nodes["vm-vc1-0"])).state == "succeeded"
        simulator.guests["vm-vc1-0"].state = "nostate-error"
        assert ended(pool, ask(pool, "reset", nodes["vm-vc1-0"])).state == "succeeded", "the host decides"
    read = "list host vm vm-vc1-0 status=yes json=yes"
    names = {guest.uuid: guest.name for guest in simulator.guests.values()}
    assert [" ".join(names.get(word, word) for word in line.split()) for line in lines] == [
        "start host vm vm-vc1-0 json=yes",
        "stop host vm vm-vc1-0 action=reset json=yes",
        "stop host vm vm-vc1-0 action=poweroff json=yes",
        read,
        *(read, "stop host vm vm-vc1-0 action=reset json=yes"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["poweron", "poweroff", "shutdown", "reset", "reboot", "attach_iso"])
@pytest.mark.parametrize("state", ["active", "nostate"])
def test_nothing_is_done_to_a_machine_that_has_got_the_name_since_the_last_poll(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], verb: str, state: str
) -> None:
    """It may be another owner's: what is known of the node stays, too."""
    sql(pool, "UPDATE node SET state = 'active' WHERE name = 'vm-vc1-0'")
    guest = simulator.guests["vm-vc1-0"]
    guest.uuid, guest.state = str(uuid.uuid4()), state
    with working(pool, simulator):
        asked = ended(pool, ask(pool, verb, nodes["vm-vc1-0"]))
    assert asked.state == "failed" and "replaced" in (asked.error or {})["detail"]
    assert not simulator.commands and guest.state == state
    assert sql(pool, "SELECT state FROM node WHERE name = 'vm-vc1-0'") == [("active",)]


@pytest.mark.slow
def test_the_machine_is_found_under_the_name_that_it_has_now(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    """Two have changed their names since the last poll."""
    first, second = simulator.guests["vm-vc1-0"], simulator.guests["vm-vc1-1"]
    first.uuid, second.uuid = second.uuid, first.uuid
    with working(pool, simulator):
        assert ended(pool, ask(pool, "poweron", nodes["vm-vc1-0"])).state == "succeeded"
    assert simulator.commands == [("start", "host", "vm", "vm-vc1-1", "json=yes")]
    assert (first.state, second.state) == ("nostate", "active")


@pytest.mark.slow
def test_no_other_machine_gets_the_host_of_a_computeset(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    number = add_set(pool, nodes["vm-vc1-0"].cluster_id, 1)
    run_on(pool, number, HOSTS[0], [HOSTS[0]])
    simulator.guests["vm-vc1-0"].uuid = str(uuid.uuid4())
    with working(pool, simulator):
        asked = ended(pool, ask(pool, "poweron", nodes["vm-vc1-0"], target_set=number))
    assert "replaced" in (asked.error or {})["detail"] and not simulator.commands


@pytest.mark.slow
def test_a_computeset_is_extended_with_its_timer(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    cluster = nodes["vm-vc1-0"].cluster_id
    number = add_set(pool, cluster, 1)
    run_on(pool, number, HOSTS[0], [HOSTS[0]])
    timer = '{"walltime": {"at": 1000.5, "boot": "b", "since_boot": 500.5}, "other": 1}'
    sql(pool, "UPDATE computeset SET notes = %s", (timer,))

    def extended(**more: JsonObject) -> Operation:
        with pool.transaction() as session:
            arguments: JsonObject = {"minutes": 90, **more}
            new = NewOperation("extend_set", "ann", cluster, target_set=number, arguments=arguments)
            asked = operations.insert_operation(session, new)
        return ended(pool, asked)

    with working(pool, simulator):
        assert extended().state == extended().state == "succeeded"
        notes = '{"walltime": {"at": 2800.5, "boot": "b", "since_boot": 2300.5}, "other": 1}'
        ((minutes, stored),) = sql(pool, "SELECT walltime_minutes, notes FROM computeset")
        assert minutes == 90 and json.loads(stored) == json.loads(notes)
        sql(pool, "UPDATE computeset SET walltime_minutes = 91")
        assert "has 91 minutes already" in (extended().error or {})["detail"]
        assert extended(parts={str(number): 92}).state == extended(parts={}).state == "succeeded"
        assert sql(pool, "SELECT walltime_minutes FROM computeset") == [(92,)]
        some = extended(parts={"999": 95, str(number): 95})
        assert (
            some.state == "failed"
            and "only a part is extended: the computeset 999" in (some.error or {})["detail"]
        )
        assert sql(pool, "SELECT walltime_minutes FROM computeset") == [(95,)], (
            "a part that has ended holds none up"
        )
        sql(pool, "UPDATE computeset SET walltime_minutes = 60, account = 'alp1'")
        sql(pool, "INSERT INTO allocation (name) VALUES ('alp1')")
        sql(pool, "INSERT INTO project (name, limits) VALUES ('small', '{\"node_hours\": 1}')")
        sql(pool, "UPDATE cluster SET project_id = (SELECT id FROM project WHERE name = 'small')")
        assert "too few node hours" in (extended().error or {})["detail"]
        sql(pool, "UPDATE computeset SET cancel_requested = 'shutdown'")
        refused = extended()
    assert refused.state == "failed" and "is ending or has ended" in (refused.error or {})["detail"]


@pytest.mark.slow
def test_a_failure_is_tried_again_and_then_reported(
    pool: Pool,
    simulator: Simulator,
    nodes: dict[str, Node],
    delays: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = nodes["vm-vc1-1"]
    simulator.faults.append((("start",), lambda: Answer(1, "", "Error: another command is at work on it")))
    with working(pool, simulator):
        assert ended(pool, ask(pool, "poweron", node)).state == "succeeded"
        simulator.guests["vm-vc1-2"].image = "mapped"
        refused = ended(pool, ask(pool, "poweron", nodes["vm-vc1-2"]))
    assert refused.state == "failed" and refused.attempts == 3
    assert delays == [1, 1, 2], "that of the first start, then those of the second"
    detail = (refused.error or {})["detail"]
    assert "vm-vc1-2-vol" not in detail and f"name operation {refused.id}" in detail
    assert any(refused.id in line and "vm-vc1-2-vol is mapped" in line for line in caplog.messages)
    assert "vm-vc1-2-vol is mapped" in (refused.error or {})["cause"], "for operators"


@pytest.mark.slow
def test_a_start_that_failed_after_it_was_done_has_succeeded(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    def started() -> Answer:
        simulator.run(["start", "host", "vm", "vm-vc1-1"], 60)
        return Answer(-9, "", "")

    simulator.faults.append((("start",), started))
    with working(pool, simulator):
        assert ended(pool, ask(pool, "poweron", nodes["vm-vc1-1"])).state == "succeeded"


@pytest.mark.slow
def test_a_state_that_was_not_printed_is_read(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    simulator.run(["start", "host", "vm", "vc1"], 60)

    def stopped() -> Answer:
        simulator.run(["stop", "host", "vm", "vc1", "action=poweroff"], 60)
        return Answer(0, "a line of a plugin\n", "")

    simulator.faults.append((("stop",), stopped))
    with working(pool, simulator):
        done = ended(pool, ask(pool, "poweroff", nodes["vc1"]))
        assert (done.state, done.result) == ("succeeded", {"state": "nostate"})


def test_many_nodes_have_one_result_each(pool: Pool, simulator: Simulator, nodes: dict[str, Node]) -> None:
    for number in (0, 1):
        simulator.run(["start", "host", "vm", f"vm-vc1-{number}"], 60)
    numbers = [nodes[f"vm-vc1-{number}"].id for number in (0, 1, 2)]

    def ask_many(these: list[int]) -> Operation:
        new = NewOperation("reset_set", "ann", nodes["vc1"].cluster_id, arguments={"nodes": these})
        with pool.transaction() as session:
            return operations.insert_operation(session, new)

    with working(pool, simulator):
        done, refused = ended(pool, ask_many(numbers[:2])), ended(pool, ask_many(numbers))
    assert done.state == "succeeded" and set((done.result or {})["nodes"]) == {"vm-vc1-0", "vm-vc1-1"}
    assert refused.state == "failed" and "1 of 3 nodes" in (refused.error or {})["detail"]
    each = {name: one["state"] for name, one in (refused.result or {})["nodes"].items()}
    assert each == {"vm-vc1-0": "succeeded", "vm-vc1-1": "succeeded", "vm-vc1-2": "failed"}
    assert set((refused.result or {})["nodes"]["vm-vc1-2"]["error"]) == {"code", "detail"}, (
        "an owner reads it"
    )
    resets = [command[3] for command in simulator.commands if "action=reset" in command]
    assert sorted(resets) == sorted(["vm-vc1-0", "vm-vc1-1"] * 2)


def test_a_database_that_is_away_while_a_command_runs(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node]
) -> None:
    def cut() -> Answer:
        answer = simulator.run(["start", "host", "vm", "vm-vc1-3"], 60)
        with pool.transaction() as session:
            for (number,) in session.rows(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND DB = DATABASE()"
            ):
                session.execute(f"KILL {number}")
        return answer

    simulator.faults.append((("start",), cut))
    with working(pool, simulator):
        assert ended(pool, ask(pool, "poweron", nodes["vm-vc1-3"])).state == "succeeded"
    assert len(simulator.commands) == 1


_PROGRAM = """
import os, sys, threading
from nucleus.backends.executor import SocketExecutor
from nucleus.backends.rocks import Rocks
from nucleus.configuration import read_configuration
from nucleus.mirror.pool import Pool
from nucleus.operations import job
from nucleus.operations.worker import Workers

configuration = read_configuration()
kill_at = int(os.environ["KILL_AT"])
count = 0
def counted(*_):
    global count
    count += 1
    if count == kill_at:
        os.kill(os.getpid(), 9)
original = job.Job.transaction
def transaction(self, act):
    counted()
    result = original(self, act)
    counted()
    return result
job.Job.transaction = transaction
rocks = Rocks(SocketExecutor(configuration.executor.socket), 60)
Workers(configuration, Pool(configuration.database), rocks).run(threading.Event())
"""


@contextmanager
def after_a_kill(pool: Pool, simulator: Simulator, folder: Path, kill_at: int) -> Iterator[None]:
    """Workers that finish what a real process had begun, which has killed itself at one of its transactions."""
    socket, path = folder / "executor.sock", os.pathsep.join(sys.path)
    more = {"NUCLEUS_EXECUTOR_SOCKET": str(socket), "NUCLEUS_WORK_CONFIRM_SECONDS": "5", "PYTHONPATH": path}
    environment = {**os.environ, **more, "KILL_AT": str(kill_at)}
    with answering(ExecutorService(simulator, socket, {os.getuid()})):
        program = start_with_pipes([sys.executable, "-c", _PROGRAM], environment)
        try:
            wait_until(lambda: program.poll() is not None, "the kill")
            assert program.returncode == -signal.SIGKILL
        finally:
            end_group(program)
        with working(pool, simulator):
            yield


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("kill_at", [4, 9, 14])
def test_a_worker_that_is_killed_between_two_steps(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], tmp_path: Path, kill_at: int
) -> None:
    asked = [ask(pool, "poweron", nodes["vm-vc1-0"]), ask(pool, "reset", nodes["vm-vc1-0"])]
    with after_a_kill(pool, simulator, tmp_path, kill_at):
        on, reset = (ended(pool, one) for one in asked)
    assert on.state == "succeeded", on
    starts = [command for command in simulator.commands if command[0] == "start"]
    resets = [command for command in simulator.commands if "action=reset" in command]
    assert len(starts) == 1 and len(resets) <= 1
    assert reset.state == "succeeded" or "may have been done" in (reset.error or {})["detail"]


@pytest.mark.slow
def test_images_reach_the_library_and_drives(
    pool: Pool, simulator: Simulator, nodes: dict[str, Node], tmp_path: Path
) -> None:
    (file := tmp_path / "7.iso").write_bytes(b"iso")
    with pool.transaction() as session:
        user = session.insert("user", {"username": "ann"})
        number = session.insert("image", {"name": "a.iso", "state": "uploading", "uploaded_by": user})

    def ask_image(kind: str, node: Node | None = None, **arguments: object) -> Operation:
        with pool.transaction() as session:
            cluster, target = (node.cluster_id, node.id) if node else (None, None)
            new = NewOperation(kind, "ann", cluster, target, arguments={"image": number, **arguments})
            return operations.insert_operation(session, new)

    with working(pool, simulator):
        assert ended(pool, ask_image("add_image", path=str(file), sha256="0" * 64)).state == "succeeded"
        done = ended(pool, ask_image("attach_iso", nodes["vc1"], iso="public/a.iso"))
        assert done.state == "succeeded", done.error
        removed = ended(pool, ask_image("remove_image", library_name=f"nucleus-{number}.iso"))
        assert removed.state == "succeeded"
    assert not file.exists()
    name = f"nucleus-{number}.iso"
    assert simulator.commands == [
        ("add", "image", name, f"file={file}", f"checksum={'0' * 64}", "format=iso", "json=yes"),
        ("set", "host", "vm", "cdrom", "vc1", f"image={name}", "json=yes"),
        ("remove", "image", name, "json=yes"),
    ]
    with pool.transaction() as session:
        assert session.row("SELECT iso FROM node WHERE name = 'vc1'") == ("public/a.iso",)
        assert session.rows("SELECT 1 FROM image") == []


def test_images_that_the_library_refuses_leave_nothing_for_ever(
    pool: Pool, simulator: Simulator, tmp_path: Path
) -> None:
    (file := tmp_path / "7.iso").write_bytes(b"iso")

    def ask_image(kind: str, **arguments: object) -> Operation:
        with pool.transaction() as session:
            new = NewOperation(kind, "ann", arguments=arguments, unique_key=f"{kind}-{arguments['image']}")
            return operations.insert_operation(session, new)

    def refuse(*command: str) -> None:
        cause = '[{"error": {"family": "state", "code": "library_image_in_use"}}]'
        simulator.faults += [(command, lambda: Answer(1, cause, "Error: it is in use"))]  # asked once

    def states() -> list[tuple[object, ...]]:
        return sql(pool, "SELECT name, state FROM image ORDER BY name")

    sql(pool, "INSERT INTO image (name, state) VALUES ('a.iso', 'uploading'), ('b.iso', 'deleting')")
    (added,), (removed,) = sql(pool, "SELECT id FROM image ORDER BY name")
    with working(pool, simulator):
        refuse("add", "image")
        asked = ask_image("add_image", image=added, path=str(file), sha256="0" * 64)
        assert ended(pool, asked).state == "failed"
        assert states() == [("b.iso", "deleting")] and not file.exists()
        refuse("remove", "image")
        refused = ended(pool, ask_image("remove_image", image=removed, library_name="b.iso"))
        assert refused.state == "failed" and "a machine has the image" in (refused.error or {})["detail"]
        assert states() == [("b.iso", "ready")]
        again = ask_image("remove_image", image=removed, library_name="b.iso")
        assert ended(pool, again).state == "succeeded" and states() == []
