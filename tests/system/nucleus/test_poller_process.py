"""The poller beside the REST service is a process of its own: it ends with the service, and the service with it.

What it believes depends on no process: one that is started again doubts what the former one did.
"""

import multiprocessing
import os
import signal
import socket
import subprocess  # noqa: TID251 - its class, of a program that rocks.core.process has started
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.simulator import Simulator
from nucleus.api.representations import freshness_of
from nucleus.backends import rocks as commands
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, DatabaseSettings, PollSettings
from nucleus.mirror import clusters
from nucleus.mirror.events import NEWS, WORK
from nucleus.mirror.observations import database_now
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.poller.process import _poll, own_process
from nucleus.records import SYSTEM
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.test_computesets import program
from tests.waiting import wait_until

SUBJECTS = ("src/nucleus/poller", "src/nucleus/cli/serve.py")


@pytest.fixture
def serving(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`nucleus serve`, which has polled once."""
    with (
        program(nucleus_settings, tmp_path, "executor", "--user", "root"),
        program(nucleus_settings, tmp_path, "serve") as running,
    ):
        wait_until(lambda: sql(pool, "SELECT id FROM node"), "the first poll")
        yield running


def _poller(serving: subprocess.Popen[bytes]) -> int:
    """The service's eldest child: it is started before the web server."""
    children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children")
    eldest, *_ = wait_until(lambda: children.read_text().split())
    return int(eldest)


def _is_free(settings: DatabaseSettings) -> bool:
    guard = Guard(settings, "poller")
    try:
        return guard.take()
    finally:
        guard.release()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_service(
    serving: subprocess.Popen[bytes], nucleus_settings: DatabaseSettings, how: signal.Signals
) -> None:
    number = _poller(serving)
    assert not _is_free(nucleus_settings)
    serving.send_signal(how)
    assert serving.wait() == (0 if how == signal.SIGTERM else -how)
    wait_until(lambda: _has_ended(number), lambda: f"the poller runs on: {_waits(number)}")
    assert _is_free(nucleus_settings)


def _has_ended(number: int) -> bool:
    """Also when nobody has looked yet how it ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _waits(number: int) -> list[str]:
    """What each thread of the process waits for, and the commands of its children."""
    threads = list(Path(f"/proc/{number}/task").iterdir())
    children = [one for it in threads for one in (it / "children").read_text().split()]
    commands = [Path(f"/proc/{one}/cmdline").read_text().replace("\0", " ") for one in children]
    return [
        f"{(it / 'wchan').read_text()} {(it / 'syscall').read_text().strip()}" for it in threads
    ] + commands


@pytest.mark.slow
def test_a_signal_to_both_ends_both(serving: subprocess.Popen[bytes]) -> None:
    """As systemd, and a terminal, send it."""
    os.killpg(serving.pid, signal.SIGINT)
    assert serving.wait() == 0


@pytest.mark.slow
def test_the_service_ends_when_its_poller_was_killed(serving: subprocess.Popen[bytes]) -> None:
    os.kill(_poller(serving), signal.SIGKILL)
    assert serving.wait() == 1
    assert serving.stderr is not None
    assert b"nucleus: the poller's process has ended (SIGKILL)" in serving.stderr.read()


def test_the_service_ends_when_its_poller_was_killed_before_it_served(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path
) -> None:
    """The HTTP server takes signals only when it runs: what comes before must end it, too."""
    with program(nucleus_settings, tmp_path, "serve") as starting:
        os.kill(_poller(starting), signal.SIGKILL)
        assert starting.wait() == 1


def test_what_a_poll_has_written_wakes_the_service_at_once() -> None:
    def poll(stop: threading.Event) -> None:
        while not stop.wait(0.05):
            NEWS.give()

    events, work = NEWS.number, WORK.number
    with own_process(poll):
        assert NEWS.wait(events, 120) > events
        assert WORK.wait(work, 120) > work


def test_it_ends_with_a_service_that_was_killed_before_it_read_what_was_new() -> None:
    """Linux reports such an end as a reset of the connection, not as its end."""

    def poll(stop: threading.Event) -> None:
        while not stop.wait(0.05):
            NEWS.give()

    ours, theirs = socket.socketpair()
    child = multiprocessing.get_context("fork").Process(target=_poll, args=(poll, ours, theirs))
    child.start()
    theirs.close()
    try:
        assert ours.recv(1, socket.MSG_PEEK) == b"!"
        ours.close()
        child.join(30)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()


_CLUSTERS, _FAILED = (
    "SELECT name FROM cluster WHERE gone_at IS NULL",
    "SELECT name FROM source WHERE failures",
)


@pytest.mark.parametrize("printed", ["", "[]"])
def test_a_poller_that_is_started_again_does_not_believe_an_empty_answer(
    lease: Guard, pool: Pool, printed: str
) -> None:
    simulator = Simulator()
    Poller(Configuration(), Rocks(simulator, 60), lease).poll()
    before = sql(pool, _CLUSTERS)
    again = Poller(Configuration(), Rocks(simulator, 60), lease)
    for _ in range(3):
        simulator.faults.append((("list", "cluster"), lambda: Answer(0, printed, "")))
        again.poll()
        assert sql(pool, _FAILED) == [("cluster",)]
    assert sql(pool, _CLUSTERS) == before != []
    again.poll()
    assert sql(pool, _CLUSTERS) == before and sql(pool, _FAILED) == []


def test_a_site_without_a_nas_is_not_stale(lease: Guard, pool: Pool) -> None:
    simulator = Simulator()
    simulator.faults.append((("list", "host", "storagemap"), lambda: Answer(0, "[]", "")))
    Poller(Configuration(), Rocks(simulator, 60), lease).poll()
    with pool.transaction() as session:
        found, now = clusters.list_clusters(session, SYSTEM), database_now(session)
    assert [freshness_of(one, PollSettings(), now).is_stale for one in found] == [False, False]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_last_cluster_may_be_removed(lease: Guard, pool: Pool, is_restarted: bool) -> None:
    """The site's own frontend is listed all the same; empty lists of the others are no failures, which give alarms."""
    simulator = Simulator()
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    simulator.guests.clear()
    for _ in range(2):
        if is_restarted:
            poller = Poller(Configuration(), Rocks(simulator, 60), lease)
        poller.poll()
        assert sql(pool, _FAILED) == []
    assert sql(pool, _CLUSTERS) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("interface", Answer(0, "[]", "")),
        ("vm", Answer(0, "", "")),
        ("route", Answer(0, "", "")),
        ("storagemap", Answer(0, "", "")),
        ("storagemap", Answer(commands.SOME_FAILED, "[]", "")),
    ],
)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_command_that_lists_nothing_without_a_reason_has_failed(
    lease: Guard, pool: Pool, command: str, answer: Answer, is_restarted: bool
) -> None:
    """The list of interfaces has the site's frontend; a NAS that does not answer may have images."""
    simulator = Simulator()
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    if is_restarted:
        poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    simulator.faults.append((("list", "host", command), lambda: answer))
    poller.poll()
    assert sql(pool, _FAILED) == [(command,)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_machine_that_returns_to_its_cluster_keeps_its_name_and_servers(
    lease: Guard, pool: Pool, is_restarted: bool
) -> None:
    """Where another one has got the name meanwhile, it has a number behind it."""
    simulator = Simulator()
    poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    changed = "name = CONCAT('n', RIGHT(name, 1)), dns1 = '192.0.2.9', ntp = 'ntp.example.org'"
    sql(pool, f"UPDATE node SET {changed} WHERE name LIKE 'vm-vc2-%'")
    gone = [simulator.guests.pop(f"vm-vc2-{number}") for number in (0, 1)]
    for _ in range(2):
        poller.poll()
    living = (
        "SELECT rocks_name, name FROM node WHERE gone_at IS NULL AND rocks_name IN ('vm-vc2-0', 'vm-vc2-1')"
    )
    assert sql(pool, living) == []
    sql(pool, "UPDATE node SET name = 'n1' WHERE name = 'n2'")
    simulator.guests.update({one.name: one for one in gone})
    simulator._add("n0", "vc2", None)
    if is_restarted:
        poller = Poller(Configuration(), Rocks(simulator, 60), lease)
    poller.poll()
    assert dict(sql(pool, living)) == {"vm-vc2-0": "n0", "vm-vc2-1": "n1-2"}
    assert sql(pool, "SELECT dns1, ntp FROM node WHERE name = 'n0'") == [("192.0.2.9", "ntp.example.org")]
    assert sql(pool, "SELECT name, dns1 FROM node WHERE rocks_name = 'n0'") == [("n0-2", None)]
