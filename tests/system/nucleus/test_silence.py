"""A database that is stopped (SIGSTOP) accepts connections and says nothing: workers and poller log that, and go on."""

import threading

import pytest

from lab.simulator import Simulator
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks
from nucleus.configuration import Configuration, DatabaseSettings, PollSettings
from nucleus.mirror import driver
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.records import Node
from tests.system.nucleus.conftest import frozen, sql
from tests.system.nucleus.test_operations import ask, delays, ended, nodes, simulator, working
from tests.waiting import wait_until

__all__ = ["delays", "nodes", "simulator"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer limit than the questions of this case need."""
    monkeypatch.setattr(driver, "SILENCE_SECONDS", 3.0)


def test_workers_go_on_when_the_database_answers_again(
    pool: Pool,
    simulator: Simulator,
    nodes: dict[str, Node],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The workers say so, and go on: of what they store then nothing is lost, and nothing is done twice."""
    begun, may_end = threading.Event(), threading.Event()

    def start() -> Answer:
        begun.set()
        assert may_end.wait(60)
        return simulator.run(["start", "host", "vm", "vm-vc1-3"], 60)

    simulator.faults.append((("start",), start))
    with working(pool, simulator):
        asked = ask(pool, "poweron", nodes["vm-vc1-3"])
        assert begun.wait(60)
        with frozen(pool):
            may_end.set()
            wait_until(lambda: "operations: the database does not answer" in caplog.text, "the workers' line")
            wait_until(lambda: len(simulator.commands) == 1, "the start")
        assert ended(pool, asked).state == "succeeded"
        assert ended(pool, ask(pool, "poweroff", nodes["vm-vc1-3"])).state == "succeeded"
    assert [command[0] for command in simulator.commands] == ["start", "stop"]
    assert "is silent no more" in caplog.text


def test_the_poller_goes_on_when_the_database_answers_again(
    nucleus_settings: DatabaseSettings, pool: Pool, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Configuration(poll=PollSettings(power_seconds=0.1, topology_seconds=0.1))
    poller = Poller(settings, Rocks(simulator, 60), Guard(nucleus_settings, "poller"))
    stop = threading.Event()
    thread = threading.Thread(target=poller.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: sql(pool, "SELECT 1 FROM cluster") != [], "the first poll")
        with frozen(pool):
            wait_until(lambda: "poll: the database does not answer" in caplog.text, "the poller's line")
            simulator.run(["start", "host", "vm", "vc1"], 60)
        on = "SELECT 1 FROM node WHERE name = 'vc1' AND state = 'active'"
        wait_until(lambda: sql(pool, on) != [], "the next poll")
    finally:
        stop.set()
        thread.join(120)
