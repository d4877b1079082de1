"""The frontend between the two agents of a live migration, which may send anything."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, RocksError, StateError
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.wire.live_moves import (
    PROGRESS,
    REFUSED_STATUS,
    RESULT,
    TICK,
    Arrive,
    Leave,
    Progress,
    Result,
    frame,
)
from rocks.fleet.wire.requests import StartDomain
from rocks.machine import live_move as live_moves
from tests.waiting import wait_until

OLD, NEW = (HostAddress(name, name, is_local=True) for name in ("old", "new"))
LEAVE = Leave("a", 7, "move", ())
ARRIVE = Arrive(StartDomain("a", 7, "<domain/>"), "u", "move")
AGENT = """\
import sys, time
sys.stdin.readline()
sys.stdout.buffer.write(open(sys.argv[1], "rb").read())
sys.stdout.flush()
sys.stdin.read()
"""
ENDED = frame(RESULT, 0, json.dumps({"error": None}).encode())


def progress(sent: object = 1, remaining: object = 1) -> bytes:
    """A report with these numbers."""
    report = {"sent_bytes": sent, "remaining_bytes": remaining, "detour": ""}
    return frame(PROGRESS, 0, json.dumps(report).encode())


class Agents:
    """Programs that read their request, send these bytes, and stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: dict[str, bytes] = {"old": b"", "new": b""}
        self.watched: list[Progress] = []

    def start(self, host: HostAddress, *_: Any) -> PipeStream:
        """The agent on a host."""
        path = self.folder / host.name
        path.write_bytes(self.sent[host.name])
        return PipeStream([sys.executable, "-c", AGENT, str(path)])

    def move(self, old: bytes, new: bytes = b"") -> Result:
        """Migrate, with agents that send this."""
        self.sent = {"old": old, "new": new}
        return live_moves.move_live(OLD, NEW, FleetSettings(), LEAVE, ARRIVE, self.watched.append)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    """Both agents."""
    found = Agents(tmp_path)
    monkeypatch.setattr(live_moves, "start_agent", found.start)
    return found


def test_the_old_host_reports_the_end(agents: Agents) -> None:
    assert agents.move(progress(5, 3) + ENDED) == Result()
    assert agents.watched in ([], [Progress(5, 3)])


def test_no_thread_reads_on_when_the_migration_has_ended(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read what the next migration gets: the descriptors of closed streams are given to its streams."""
    receive, before = PipeStream.receive, set(threading.enumerate())

    def receive_late(stream: PipeStream, deadline: Deadline) -> bytes:
        """As on a busy machine, where the thread runs late."""
        try:
            return receive(stream, deadline)
        finally:
            time.sleep(0.2)

    monkeypatch.setattr(PipeStream, "receive", receive_late)
    assert agents.move(ENDED) == Result()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("report", [ENDED, progress()])
def test_the_new_host_reports_nothing(agents: Agents, report: bytes) -> None:
    with pytest.raises(HostError, match="^new reports the end of a migration that only the old host knows"):
        agents.move(b"", report)


@pytest.mark.parametrize(
    "report",
    [
        frame(PROGRESS, 0, b"[" * 4096),
        frame(RESULT, 0, b"[" * 4096),
        frame(PROGRESS, 0, b"{"),
        progress(int("9" * 400)),
        progress(2**63),
        progress(-1),
        progress(1, int("9" * 400)),
        frame(RESULT, 0, json.dumps({"error": "x" * 5000}).encode()),
        frame(PROGRESS, 0, b"9" * 5000),
    ],
)
def test_reports_that_no_agent_sends_end_the_migration(agents: Agents, report: bytes) -> None:
    with pytest.raises(RocksError, match="old (reports|sends)"):
        agents.move(report)
    assert agents.watched == []


def test_what_fails_unexpectedly_ends_the_migration(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error of a thread leaves the command waiting, under the machine's lock."""

    def fail(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(live_moves, "_decoded", fail)
    with pytest.raises(HostError, match="old has sent what cannot be passed on: RecursionError"):
        agents.move(progress())


@pytest.mark.parametrize("sent", [frame(TICK), progress(1) * 50, b""])
def test_an_agent_that_gets_no_further_ends_the_migration(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(live_moves, "LIVE_STILL_SECONDS", 0.5)
    with pytest.raises(HostError, match="old has sent nothing more for 0.5 s"):
        agents.move(sent)


def test_of_many_reports_the_latest_counts(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that reports without end fills no memory."""
    decoded, ended = live_moves._decoded, threading.Event()

    def decode_report(host: str, kind: int, content: bytes) -> Progress | Result:
        if kind == RESULT:
            wait_until(lambda: agents.watched, "the first report has been watched")
            ended.set()
        return decoded(host, kind, content)

    def watch(report: Progress) -> None:
        agents.watched.append(report)
        assert ended.wait(60)

    monkeypatch.setattr(live_moves, "_decoded", decode_report)
    agents.sent["old"] = b"".join(progress(number) for number in range(5000)) + ENDED
    assert live_moves.move_live(OLD, NEW, FleetSettings(), LEAVE, ARRIVE, watch) == Result()
    assert 1 <= len(agents.watched) <= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "kind"), [(REFUSED_STATUS, StateError), (1, HostError), (0, HostError), (255, HostError)]
)
def test_a_refusal_is_no_fault_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[RocksError]
) -> None:
    """The machine cannot move as it is: the caller may do something else with it."""
    program = "import sys; sys.stdin.readline(); print('a cannot move', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    agents = Agents(tmp_path)

    def start(host: HostAddress, *arguments: Any) -> PipeStream:
        if host is OLD:
            return agents.start(host, *arguments)
        return PipeStream([sys.executable, "-c", program, str(status)])

    monkeypatch.setattr(live_moves, "start_agent", start)
    with pytest.raises(RocksError, match="^new: ") as raised:
        live_moves.move_live(OLD, NEW, FleetSettings(), LEAVE, ARRIVE)
    assert type(raised.value) is kind
