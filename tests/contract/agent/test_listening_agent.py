"""The agent that listens: the installed program hands requests over to it, and does them itself where that fails."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import agent_archive
from lab.namespace import Machine
from rocks.core.process import run, start_with_pipes
from rocks.fleet.wire.calls import write_request
from rocks.fleet.wire.facts import AdaptersRequest
from tests.patience import patience
from tests.waiting import wait_until

PROGRAM = "/opt/rocks/libexec/rocks-agent"
LINE = write_request(AdaptersRequest(()))

pytestmark = pytest.mark.system


@pytest.fixture
def listener(machine: Machine) -> Iterator[int]:
    """The process number of an agent that listens in the machine, and has imported all that it needs."""
    agent_archive.listen(machine)
    listener = wait_until(lambda: _served_by(machine), seconds=30)
    wait_until(lambda: not _children(listener))  # it ends after its program
    yield listener
    machine.stop_daemon("rocks-agent-listen", 5)


class Serving:
    """The program in its serving mode, after its first reply."""

    def __init__(self, machine: Machine) -> None:
        self.process = start_with_pipes(machine.command([PROGRAM, "--serve"]))
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout
        self.reply = self.ask()

    def ask(self) -> bytes:
        self.input.write(LINE)
        self.input.flush()
        assert self.output.readline() == b"\n", "the receipt"
        return self.output.readline()

    def end(self) -> int:
        self.input.close()
        assert self.output.read() == b""
        return self.process.wait(patience(20))


def _children(process: int) -> list[int]:
    """What the process has started, and is no zombie."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [int(child) for child in children if Path(f"/proc/{child}/exe").exists()]


def _served_by(machine: Machine) -> int | None:
    """The agent that listens and does a request; None while the program does it itself."""
    serving = Serving(machine)
    daemon = machine.daemon("rocks-agent-listen")
    assert daemon
    listener = next(iter(_children(daemon.process_id)), None)
    runs = _children(listener) if listener else []
    assert serving.end() == 0
    return listener if runs else None


@pytest.mark.slow
def test_requests_are_handed_over(machine: Machine, listener: int) -> None:
    """Each to a process of its own, as many at once as there are; they end with their input."""
    one, other = Serving(machine), Serving(machine)
    assert len(_children(listener)) == 2
    assert json.loads(one.reply)["ok"] is True and one.ask() == other.reply
    assert (one.end(), other.end()) == (0, 0)
    wait_until(lambda: not _children(listener))


def test_the_hook_is_handed_over(machine: Machine, listener: int) -> None:
    """Its arguments, its input, its errors and its exit status."""
    command = machine.command([PROGRAM, "hook", "ä b", "prepare", "begin", "-"])
    waiting = start_with_pipes(command)
    assert waiting.stdin
    wait_until(lambda: _children(listener))
    waiting.stdin.write(b"<bad")
    _, error = waiting.communicate()
    assert waiting.returncode == 1 and error.startswith(b"rocks: the domain XML cannot be read")


@pytest.mark.slow
def test_a_run_is_killed_with_its_program(machine: Machine, listener: int) -> None:
    """Who reads its output reads the end, and nothing runs on."""
    serving = Serving(machine)
    assert len(_children(listener)) == 1
    os.killpg(serving.process.pid, signal.SIGKILL)
    assert serving.output.read() == b""
    wait_until(lambda: not _children(listener))


@pytest.mark.slow
def test_a_program_is_killed_with_its_run(machine: Machine, listener: int) -> None:
    """The frontend learns that the agent has ended."""
    serving = Serving(machine)
    os.kill(_children(listener)[0], signal.SIGKILL)
    assert serving.output.read() == b""
    assert serving.process.wait(patience(20)) in (-signal.SIGKILL, 128 + signal.SIGKILL)


@pytest.mark.slow
def test_runs_outlive_the_agent_that_listens(machine: Machine, listener: int) -> None:
    """Then, and while it hangs, programs do the work themselves."""
    serving = Serving(machine)
    os.kill(listener, signal.SIGSTOP)
    hanging = Serving(machine)
    assert len(_children(listener)) == 1 and hanging.end() == 0
    os.kill(listener, signal.SIGKILL)
    wait_until(lambda: machine.daemon("rocks-agent-listen") is None)
    assert serving.ask() == serving.reply and serving.end() == 0
    assert Serving(machine).end() == 0


@pytest.mark.slow
def test_an_agent_of_another_package_ends(machine: Machine, listener: int) -> None:
    """The first request after an upgrade is answered by the new package, and later ones by an agent of it."""
    serving = Serving(machine)
    os.utime(machine.outside("/opt/rocks/lib/rocks-agent.pyz"))
    assert Serving(machine).end() == 0
    wait_until(lambda: not Path(f"/proc/{listener}").exists())
    assert serving.end() == 0
    assert wait_until(lambda: _served_by(machine), seconds=patience(30)) != listener


def test_it_is_started_by_its_socket_only(machine: Machine) -> None:
    """Not by hand."""
    ended = run(machine.command([PROGRAM, "listen"]), deadline_seconds=patience(20))
    assert ended.exit_status == 1
    assert ended.error_text == (
        "rocks: rocks-agent listen is started by its socket: systemctl start rocks-agent.socket"
    )
