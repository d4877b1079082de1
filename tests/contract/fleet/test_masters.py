"""Connections that outlive a command (OpenSSH's masters), with a real sshd: they save time and change nothing else."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import Machine
from lab.processes import end, identify
from lab.sshd import SshServer
from rocks.core.clock import Deadline
from rocks.core.errors import HostError
from rocks.core.process import run_checked
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.fleet import Fleet, FleetSettings, HostAddress
from rocks.fleet.openssh import Masters
from rocks.fleet.wire.facts import ProbeFact, ProbeRequest
from tests.contract.ssh_hosts import known_host, ssh_server
from tests.patience import patience
from tests.waiting import wait_until

pytestmark = pytest.mark.system
SOURCES = Path(__file__).resolve().parents[3] / "src"


class Line:
    """A host, the frontend's settings for it, and what its sshd has logged."""

    def __init__(self, settings: FleetSettings, host: HostAddress, log: Path) -> None:
        self.settings = settings
        self.host = host
        self._log = log

    def ask(self) -> ProbeFact:
        """One request by a fleet of its own, as one command sends it."""
        with Fleet([self.host], self.settings) as fleet:
            ((_, answer),) = fleet.ask_each({self.host.name: ProbeRequest()})
        assert isinstance(answer, ProbeFact), answer
        return answer

    @property
    def logins(self) -> int:
        """How often a key was accepted."""
        return self._log.read_text().count("Accepted publickey")

    def masters(self) -> list[int]:
        """The processes that listen on a socket in the folder."""
        return [number for number, text in self._programs().items() if b"[mux]" in text]

    def others(self) -> list[int]:
        """The processes that use such a socket, or start a master."""
        return [number for number, text in self._programs().items() if b"[mux]" not in text]

    def _programs(self) -> dict[int, bytes]:
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                text = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if self.settings.control_folder.encode() in text:
                found[int(process.name)] = text
        return found

    def sockets(self) -> list[Path]:
        return list(Path(self.settings.control_folder).iterdir())

    def wait_for_master(self) -> int:
        """The process of the one master, which starts in the background."""
        wait_until(lambda: len(self.masters()) == 1 and len(self.sockets()) == 1)
        return self.masters()[0]


@pytest.fixture
def line(machine: Machine, ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path) -> Iterator[Line]:
    """A host behind an sshd of its own, which logs every login."""
    # a short path: the kernel takes 108 bytes for the name of a socket
    with tempfile.TemporaryDirectory(prefix="rocks-", dir="/tmp") as folder:
        settings = ssh_settings[0]._replace(
            known_hosts_file=str(tmp_path / "known_hosts"),
            control_folder=f"{folder}/ssh",
            connect_deadline_seconds=patience(1),
            agent_program=str(machine.outside("/opt/rocks/libexec/rocks-agent")),
        )
        own = ensure_own_key(settings)[0]
        with ssh_server(tmp_path / "sshd", own, "LogLevel VERBOSE") as (server, _):
            found = Line(settings, known_host(server, settings), tmp_path / "sshd" / "log")
            yield found
            end([process for process in map(identify, found.masters()) if process], 0)


@pytest.mark.slow
def test_the_second_command_does_not_log_in(line: Line) -> None:
    line.ask()
    line.wait_for_master()
    assert line.logins == 2, "the first command's and its master's"
    line.ask()
    line.ask()
    assert line.logins == 2
    assert len(line.masters()) == 1


@pytest.mark.slow
def test_the_second_command_does_not_load_the_ssh_library(line: Line) -> None:
    line.ask()
    line.wait_for_master()
    code = (
        "import sys\nfrom rocks.fleet.fleet import Fleet, FleetSettings, HostAddress\n"
        "from rocks.fleet.wire.facts import ProbeRequest\n"
        f"with Fleet([HostAddress(*{tuple(line.host)!r})], FleetSettings(*{tuple(line.settings)!r})) as fleet:\n"
        f"    print([type(fact).__name__ for _, fact in fleet.ask_each({{{line.host.name!r}: ProbeRequest()}})])\n"
        "print('paramiko' in sys.modules)"
    )
    ended = run_checked(
        [sys.executable, "-c", code],
        deadline_seconds=patience(30),
        environment={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    assert ended.text == "['ProbeFact']\nFalse\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hanging_master_is_passed_over(line: Line, how: signal.Signals) -> None:
    line.ask()
    master = line.wait_for_master()
    os.kill(master, how)
    line.ask()
    assert line.logins >= 3
    if how is signal.SIGKILL:
        line.wait_for_master()
        before = line.logins
        line.ask()
        assert line.logins == before, "its successor is used"


def test_a_master_of_a_key_that_is_no_longer_known_is_not_used(line: Line, tmp_path: Path) -> None:
    line.ask()
    line.wait_for_master()
    Path(line.settings.known_hosts_file).write_text("")
    with Fleet([line.host], line.settings) as fleet:
        ((_, answer),) = fleet.ask_each({line.host.name: ProbeRequest()})
    assert "the key of host compute-0-0 is not known here" in str(answer)


def test_a_host_that_accepts_no_second_session_is_asked_by_a_login(line: Line, tmp_path: Path) -> None:
    """`MaxSessions 1`: the master has one session, and a command that comes while it is used is refused there."""
    own = ensure_own_key(line.settings)[0]
    with ssh_server(tmp_path / "narrow", own, "LogLevel VERBOSE\nMaxSessions 1") as (server, _):
        host = known_host(server, line.settings, "compute-0-1")
        narrow = Line(line.settings, host, tmp_path / "narrow" / "log")
        narrow.ask()
        narrow.wait_for_master()
        with _fleet_in_the_master(narrow):
            before = narrow.logins
            narrow.ask()
            assert narrow.logins == before + 1
        end([process for process in map(identify, narrow.masters()) if process], 0)


def _fleet_in_the_master(line: Line) -> Fleet:
    """A fleet whose agent has the master's session, which an agent or program that just ended may have for a while."""
    deadline = Deadline(patience(10))
    while not deadline.passed():
        before = line.logins
        fleet = Fleet([line.host], line.settings)
        assert all(
            isinstance(fact, ProbeFact) for _, fact in fleet.ask_each({line.host.name: ProbeRequest()})
        )
        if line.logins == before:
            return fleet
        fleet.close()
    raise AssertionError("the master's session did not become free in time")


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770])
def test_a_folder_that_others_can_enter_is_not_used(line: Line, mode: int) -> None:
    folder = Path(line.settings.control_folder)
    folder.mkdir()
    folder.chmod(mode)
    line.ask()
    line.ask()
    assert line.logins == 2 and not list(folder.iterdir())


def test_no_other_user_reaches_a_socket(line: Line) -> None:
    line.ask()
    line.wait_for_master()
    folder = Path(line.settings.control_folder)
    (master,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, master.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.slow
def test_commands_at_once_leave_one_master(line: Line) -> None:
    fleets = [Fleet([line.host], line.settings) for _ in range(4)]
    for fleet in fleets:
        assert all(
            isinstance(fact, ProbeFact) for _, fact in fleet.ask_each({line.host.name: ProbeRequest()})
        )
    for fleet in fleets:
        fleet.close()
    line.wait_for_master()
    wait_until(lambda: len(line.masters()) == 1)


def _zombies() -> set[int]:
    """Children of this process that have ended, and were not waited for."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.add(int(process.name))
    return found


@pytest.mark.slow
def test_a_start_of_a_master_leaves_no_zombie(line: Line) -> None:
    """A service asks hosts for as long as it runs."""
    before = _zombies()
    line.ask()
    line.wait_for_master()
    wait_until(lambda: not line.others())
    wait_until(lambda: not _zombies() - before, seconds=10)


@pytest.mark.slow
def test_an_agent_that_does_not_end_leaves_no_program_here(line: Line, tmp_path: Path) -> None:
    """As one that hangs in the kernel of its host, or of a host that answers only to stay connected."""
    line.ask()
    line.wait_for_master()
    agent, number = tmp_path / "agent", tmp_path / "number"
    agent.write_text(f"#!/bin/sh\nread line\necho $$ >{number}\necho\nexec sleep 600\n")
    agent.chmod(0o755)
    hanging = Fleet([line.host], line.settings._replace(agent_program=str(agent)))
    answers = hanging.ask_each({line.host.name: ProbeRequest()}, limit_seconds=patience(3))
    assert [type(answer) for _, answer in answers] == [HostError]
    assert line.others(), "it was asked through the master"
    hanging.close()
    try:
        wait_until(lambda: not line.others(), seconds=10)
        before = line.logins
        line.ask()
        assert (line.logins, len(line.masters())) == (before, 1), "the master serves others"
    finally:
        os.kill(int(number.read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_a_host_that_does_not_let_a_master_in_leaves_no_program_here(line: Line, tmp_path: Path) -> None:
    more = "AuthorizedKeysCommand /usr/bin/sleep 20\nAuthorizedKeysCommandUser root"
    with ssh_server(tmp_path / "slow", "", more) as (server, _):
        settings = line.settings._replace(login_deadline_seconds=1)
        Masters(settings).start(known_host(server, settings, "compute-0-1"))
        wait_until(line.others)
        wait_until(lambda: not line.others(), seconds=10)
