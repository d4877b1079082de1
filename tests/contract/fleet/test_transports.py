"""Connections to a host: the same cases for this machine and for a host with a real sshd."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import agent_archive
from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.clock import Deadline
from rocks.core.errors import HostError, StateError
from rocks.fleet.connection import Connection, FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.fleet.local import LocalConnection
from rocks.fleet.session import Session
from rocks.fleet.wire.calls import agent_archive_name
from rocks.fleet.wire.facts import ProbeRequest
from tests.contract.outcomes import refused
from tests.contract.ssh_hosts import known_host
from tests.patience import patience


class Way:
    """A host and its connection."""

    def __init__(self, host: HostAddress, settings: FleetSettings, scratch: Path) -> None:
        self.host = host
        self.settings = settings
        self.scratch = scratch

    def connect(self) -> Connection:
        """A connection that the test closes."""
        if self.host.is_local:
            return LocalConnection(self.host, self.settings)
        from rocks.fleet.known_hosts import read_known_hosts
        from rocks.fleet.paramiko_connection import SshConnection, load_private_key

        known = read_known_hosts(self.settings.known_hosts_file).get(self.host.name, ())
        return SshConnection(self.host, self.settings, load_private_key(self.settings.key_file), known)

    def use_agent(self, text: str) -> None:
        """Have this program in the place of the agent."""
        program = self.scratch / "agent"
        program.write_text(text)
        program.chmod(0o755)
        self.settings = self.settings._replace(agent_program=str(program))

    def session(self) -> Session:
        """A session over such a connection."""
        return Session(self.host, self.settings, self.connect)


@pytest.fixture(params=["local", pytest.param("ssh", marks=pytest.mark.system)])
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """A host with the agent installed."""
    if request.param == "local":
        if not os.access("/usr/bin/python3", os.X_OK):
            pytest.skip("the agent runs with /usr/bin/python3, which is not here")
        monkeypatch.setenv("ROCKS_STATE_FOLDER", str(tmp_path / "state"))
        agent_archive.install(tmp_path / "opt")
        settings = FleetSettings(agent_program=str(tmp_path / "opt/libexec/rocks-agent"))
        yield Way(HostAddress("frontend", "", is_local=True), settings, tmp_path)
        return
    machine: Machine = request.getfixturevalue("machine")
    settings, server = request.getfixturevalue("ssh_settings")
    yield Way(known_host(server, settings), settings, machine.folder)


@pytest.fixture
def connection(way: Way) -> Iterator[Connection]:
    with contextlib.closing(way.connect()) as opened:
        yield opened


def test_the_agent_answers_repeatedly(way: Way) -> None:
    """Two requests, one agent."""
    session = way.session()
    first = session.ask(ProbeRequest())
    assert session.ask(ProbeRequest()).kernel == first.kernel == os.uname().release
    session.close()


def test_a_missing_agent(way: Way) -> None:
    """The error has the command that installs it."""
    way.settings = way.settings._replace(agent_program="/opt/rocks/libexec/no-agent")
    with pytest.raises(
        HostError, match="the agent on host .* does not start|this machine, has no agent"
    ) as raised:
        way.session().ask(ProbeRequest())
    assert f"dist/{agent_archive_name()}" in str(raised.value)


def test_an_agent_that_sends_garbage(way: Way) -> None:
    """Any program with other output; here `echo`, which ignores the options."""
    way.settings = way.settings._replace(agent_program="/bin/echo")
    with pytest.raises(HostError, match="sent invalid data: the reply is not JSON: '--serve'"):
        way.session().ask(ProbeRequest())


def test_an_agent_that_dies(way: Way) -> None:
    """The error has its last output."""
    way.use_agent("#!/bin/sh\necho 'I am dying' >&2\nexit 3\n")
    with pytest.raises(HostError, match=r"ended( with exit status 3)? without an answer: 'I am dying'"):
        way.session().ask(ProbeRequest())


def test_an_agent_that_hangs(way: Way) -> None:
    """The reply's deadline ends the waiting."""
    way.use_agent("#!/bin/sh\nexec sleep 600\n")
    connection = way.connect()
    agent = connection.open_agent()
    start = time.monotonic()
    refused(HostError, r"did not answer within 0\.3 s", agent.ask, b"{}\n", 0.3)
    assert time.monotonic() - start < 300, "it was waited for"
    connection.close()


MIRROR = """#!/usr/bin/python3
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""


@pytest.mark.slow
def test_large_lines_pass_both_ways(way: Way) -> None:
    """Larger than any pipe or SSH window."""
    way.use_agent(MIRROR)
    connection = way.connect()
    agent = connection.open_agent()
    for size in (10, 5_000_000, 10):
        line = b"x" * size
        assert agent.ask(line + b"\n", 30) == line
    agent.close()
    connection.close()


def test_a_command_s_end(connection: Connection) -> None:
    """Output, error output and exit status, bytes as they are."""
    end = connection.run("printf 'a\\377\\0b'; echo oops >&2; exit 3", 10)
    assert (end.exit_status, end.output, end.error_output) == (3, b"a\xff\0b", b"oops\n")
    assert connection.run("true", None).exit_status == 0
    assert connection.run("cat", 10).exit_status == 0  # there is no input


def test_much_output_of_a_command(connection: Connection) -> None:
    """On both streams at once; neither blocks the other."""
    end = connection.run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", 30)
    assert (end.exit_status, len(end.output), len(end.error_output)) == (0, 3000000, 3000000)


def test_output_beyond_the_bound_is_dropped(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and the command runs to its end."""
    monkeypatch.setattr("rocks.fleet.connection.MAXIMUM_OUTPUT_BYTES", 1000)
    end = connection.run("head -c 5000 /dev/zero", 30)
    assert (end.exit_status, len(end.output), end.dropped_bytes) == (0, 1000, 4000)


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_text("utf-8", "replace"))
    return found


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_killed(way: Way) -> None:
    """With its children; its output so far is returned."""
    mark = str(way.scratch / "a-child")
    connection = way.connect()
    start = time.monotonic()
    end = connection.run(f"echo begun; sh -c 'sleep 600; :' '{mark}' & sleep 600; echo ended", patience(2))
    assert time.monotonic() - start < 300, "it was waited for"
    assert (end.exit_status, end.output) == (None, b"begun\n")
    connection.close()
    deadline = Deadline(120)
    while any(mark in line for line in command_lines()) and not deadline.passed():
        time.sleep(0.05)
    assert not any(mark in line for line in command_lines())


@pytest.mark.slow
def test_a_command_that_runs_on_without_output_ends_at_the_timeout(connection: Connection) -> None:
    start = time.monotonic()
    end = connection.run("echo begun; exec >&- 2>&-; exec sleep 300", 2)
    assert (end.exit_status, end.output) == (None, b"begun\n")
    assert time.monotonic() - start < 120, "it was waited for"


@pytest.mark.slow
def test_a_command_of_this_machine_that_cannot_be_killed_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that waits in the kernel for a disk."""
    numbers: list[int] = []
    monkeypatch.setattr("rocks.fleet.local.os.killpg", lambda group, number: numbers.append(group))
    start = time.monotonic()
    end = LocalConnection(HostAddress("frontend", "", is_local=True), FleetSettings()).run(
        "exec sleep 300", 0.2
    )
    assert end.exit_status is None and time.monotonic() - start < 120
    monkeypatch.undo()
    os.kill(numbers[0], signal.SIGKILL)


def test_a_command_that_is_killed_there(connection: Connection) -> None:
    """By a signal; it has an exit status as any other."""
    assert connection.run("kill -KILL $$", 10).exit_status not in (0, None)
    assert connection.run("echo next", 10).output == b"next\n"


@pytest.mark.system
def test_an_unknown_host_gets_no_login(ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path) -> None:
    """Its key must have been recorded; the message states how."""
    settings, server = ssh_settings
    stranger = HostAddress("compute-9-9", server.address, server.port)
    way = Way(stranger, settings, tmp_path)
    with pytest.raises(HostError, match="not known here: run `rocks sync host sharedkey compute-9-9`"):
        way.session().ask(ProbeRequest())


@pytest.mark.system
def test_a_changed_key_raises_an_error(ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path) -> None:
    """With both fingerprints."""
    settings, server = ssh_settings
    settings = settings._replace(known_hosts_file=str(tmp_path / "known_hosts"))
    host = HostAddress("compute-0-0", server.address, server.port)
    other = parse_host_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFcFkTgNrFbZsKNbVL8QJTKR2qnl3tTcyrOa4YDCYnlz")
    record_host_keys(settings.known_hosts_file, host, (other,))
    with pytest.raises(HostError, match="the key of host compute-0-0 has changed") as raised:
        Way(host, settings, tmp_path).session().ask(ProbeRequest())
    assert other.fingerprint in str(raised.value)
    assert parse_host_key(server.host_key).fingerprint in str(raised.value)


@pytest.mark.system
def test_our_key_is_not_accepted(ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path) -> None:
    """The host knows another key."""
    from rocks.fleet.first_contact import accepts_own_key, ensure_own_key

    settings, server = ssh_settings
    host = known_host(server, settings)
    assert accepts_own_key(host, settings)
    settings = settings._replace(key_file=str(tmp_path / "key"))
    ensure_own_key(settings)
    assert not accepts_own_key(host, settings)
    with pytest.raises(
        HostError, match="accept the key of this machine for root: run `rocks sync host sharedkey"
    ):
        Way(host, settings, tmp_path).session().ask(ProbeRequest())
    with pytest.raises(StateError, match="this machine cannot read its SSH key in .*; restore the file"):
        (tmp_path / "key").write_text("spoilt")
        Way(host, settings, tmp_path).session().ask(ProbeRequest())
