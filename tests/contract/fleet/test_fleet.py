"""Many hosts at once, some of them faulty: each has a reply or a clear error, and none delays the others."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.errors import HostError
from rocks.core.process import run_checked, start_with_pipes
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.fleet import Fleet, FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.fleet.paramiko_connection import paramiko
from rocks.fleet.wire.facts import ProbeFact, ProbeRequest
from tests.contract.ssh_hosts import known_host, ssh_server
from tests.patience import patience
from tests.servers import free_port
from tests.waiting import at_once, wait_until

PROBE = ProbeRequest()
SOURCES = Path(__file__).resolve().parents[3] / "src"


class Silent:
    """A port that accepts connections, sends `greeting`, and nothing more."""

    def __init__(self, greeting: bytes = b"", closes: bool = False) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._greeting, self._closes = greeting, closes
        self._open_connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.sendall(self._greeting)
            if self._closes:
                connection.close()
            else:
                self._open_connections.append(connection)

    def close(self) -> None:
        """A thread that still waited would take a connection of a later test's server."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


class MixedHosts:
    """A good host among faulty hosts."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.hosts: list[HostAddress] = []
        self.expected: dict[str, str] = {}

    def add(self, name: str, port: int, tokens: str, key: str | None = None) -> None:
        """A host and the text of its error; empty for the good one."""
        host = HostAddress(name, "127.0.0.1", port)
        if key is not None:
            record_host_keys(self.settings.known_hosts_file, host, (parse_host_key(key),))
        self.hosts.append(host)
        self.expected[name] = tokens


@pytest.fixture(scope="module")
def company(
    machine: Machine, ssh_settings: tuple[FleetSettings, SshServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MixedHosts]:
    """All known kinds of faulty hosts."""
    tmp_path = tmp_path_factory.mktemp("company")
    shared, server = ssh_settings
    settings = shared._replace(
        known_hosts_file=str(tmp_path / "known_hosts"),
        connect_deadline_seconds=patience(4),
        login_deadline_seconds=patience(8),
    )
    key = ensure_own_key(settings)[0]
    made = MixedHosts(settings)
    with ExitStack() as stack:
        made.add("good", server.port, "", server.host_key)
        forced = {
            "garbage": (
                "ForceCommand echo hello there",
                "sent invalid data: the reply is not JSON: 'hello there'",
            ),
            "closes": ("ForceCommand exit 0", "ended with exit status 0 without an answer"),
            "binary": ("ForceCommand head -c 100 /dev/zero", r"without an answer: '\x00\x00"),
            "refuses": ("PermitRootLogin no", "does not accept the key of this machine for root"),
            "sessions": ("MaxSessions 0", "did not start a program"),
            "algorithms": ("KexAlgorithms diffie-hellman-group18-sha512", "failed the SSH key exchange"),
        }
        for name, (line, tokens) in forced.items():
            bad, _ = stack.enter_context(ssh_server(tmp_path / name, key, line))
            made.add(name, bad.port, tokens, bad.host_key)
        frozen, process_id = stack.enter_context(ssh_server(tmp_path / "frozen", key))
        os.kill(process_id, signal.SIGSTOP)
        made.add("frozen", frozen.port, "is reached, but no SSH server answers", frozen.host_key)
        for name, silent, tokens in (
            ("silent", Silent(), "is reached, but no SSH server answers"),
            ("web", Silent(b"HTTP/1.0 200 OK\r\n\r\n", closes=True), "is reached, but no SSH server answers"),
            ("half", Silent(b"SSH-2.0-half\r\n"), "failed the SSH key exchange"),
        ):
            stack.callback(silent.close)
            made.add(name, silent.port, tokens, server.host_key)
        made.add("refused", free_port(), "Connection refused", server.host_key)
        made.add("stranger", server.port, "not known here: run `rocks sync host sharedkey stranger`")
        made.add("changed", server.port, "the key of host changed has changed", bad.host_key)
        yield made


LONG_SCRIPT = (
    "cat\npgrep -fc [s]ecret-of-a-profile\n" + 20_000 * "# secret-of-a-profile\n" + "echo here; exit 7"
)
"""More than a command line takes; `cat` would read the rest of a script that the shell reads as it goes."""


Answers = tuple[dict[str, Any], dict[str, Any], Any]


@pytest.fixture(scope="module")
def answers(company: MixedHosts) -> Answers:
    """Facts and commands of all hosts, and the script of the good one: asked together, since deadlines pass."""

    def ask(question: Callable[[Fleet], Any]) -> Any:
        with Fleet(company.hosts, company.settings) as fleet:
            return question(fleet)

    def facts(fleet: Fleet) -> dict[str, Any]:
        return dict(fleet.ask_each({host.name: PROBE for host in company.hosts}))

    def commands(fleet: Fleet) -> tuple[dict[str, Any], Any]:
        names = [host.name for host in company.hosts if host.name not in ("garbage", "closes", "binary")]
        results = fleet.run_commands("echo out; echo err >&2; exit 4", names, 60)
        found = {result.host: result for result in results}
        (scripted,) = fleet.run_scripts({"good": LONG_SCRIPT}, 120)
        return found, scripted

    found, (ended, scripted) = at_once(ask, [facts, commands])
    return found, ended, scripted


@pytest.mark.slow
@pytest.mark.system
def test_no_host_delays_the_others(company: MixedHosts, answers: Answers) -> None:
    """Each faulty host has its own clear error within the deadlines; the good one answers at once."""
    results = dict(answers[0])
    assert isinstance(results.pop("good"), ProbeFact)
    assert set(results) | {"good"} == set(company.expected)
    for name, result in results.items():
        assert isinstance(result, HostError), (name, result)
        assert company.expected[name] in str(result), name
        assert name in str(result)
        # what has not even an SSH server may be off; the others are on, so that nothing is taken from them
        is_down = name in ("frozen", "silent", "web", "refused")
        assert isinstance(result, AnsweringError) == (not is_down), name


@pytest.mark.system
def test_a_command_on_all_of_them(answers: Answers) -> None:
    """`down` without an SSH server, `error` with a reason elsewhere, `done` with its exit status."""
    _, ended, scripted = answers
    results = dict(ended)
    good = results.pop("good")
    assert (good.state, good.exit_status, good.output, good.error_output) == ("done", 4, "out\n", "err\n")
    assert (scripted.state, scripted.exit_status, scripted.output) == ("done", 7, "0\nhere\n")
    states = {name: result.state for name, result in results.items()}
    assert states == {
        "refused": "down",
        "silent": "down",
        "frozen": "down",
        "web": "down",
        "half": "error",
        "refuses": "error",
        "algorithms": "error",
        "sessions": "error",
        "stranger": "error",
        "changed": "error",
    }
    assert all(result.exit_status is None and result.message for result in results.values())


@pytest.mark.system
def test_one_connection_for_all_requests(
    ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path
) -> None:
    """Warmed up or not, facts and operations use one connection to one agent."""
    settings, _ = ssh_settings
    settings = settings._replace(known_hosts_file=str(tmp_path / "known_hosts"))
    counter = tmp_path / "agents"
    line = f"ForceCommand echo >> {counter}; exec /usr/bin/python3 -c '{MIRROR_AGENT}'"
    with (
        ssh_server(tmp_path / "server", ensure_own_key(settings)[0], line) as (server, _),
        Fleet([known_host(server, settings, "a")], settings) as fleet,
    ):
        fleet.warm_up(["a"])
        for _ in range(3):
            assert isinstance(dict(fleet.ask_each({"a": PROBE}))["a"], ProbeFact)
    assert counter.read_text() == "\n"


MIRROR_AGENT = """
import json, sys
for line in sys.stdin:
    version = json.loads(line)["version"]
    result = {"accelerator": "tcg", "reason": "", "kernel": "", "cached": True}
    print(json.dumps({"version": version, "ok": True, "result": result}), flush=True)
""".replace("\n", "\\n").replace('"', '\\"')
MIRROR_AGENT = f'exec("{MIRROR_AGENT}")'


def agents(machine: Machine) -> list[int]:
    """The agents on the machine."""
    found = []
    for member in machine.members():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"rocks-agent" in Path(f"/proc/{member.process_id}/cmdline").read_bytes():
                found.append(member.process_id)
    return found


@pytest.mark.system
def test_a_host_that_freezes(machine: Machine, ssh_settings: tuple[FleetSettings, SshServer]) -> None:
    """The reply's deadline passes for it alone; a later call opens a new connection."""
    settings, server = ssh_settings
    with Fleet([known_host(server, settings, name) for name in ("a", "b")], settings) as fleet:
        assert all(isinstance(fact, ProbeFact) for _, fact in fleet.ask_each({"a": PROBE, "b": PROBE}))
        # one of an earlier case may be ending
        frozen = wait_until(lambda: found[0] if len(found := agents(machine)) == 2 else 0)
        os.kill(frozen, signal.SIGKILL)
        results = dict(fleet.ask_each({"a": PROBE, "b": PROBE}))
        assert sorted(type(result).__name__ for result in results.values()) == ["HostError", "ProbeFact"]
        assert all(isinstance(fact, ProbeFact) for _, fact in fleet.ask_each({"a": PROBE, "b": PROBE}))


def test_a_host_outside_the_fleet() -> None:
    """A request to it yields an error of the host, first; the other hosts are asked all the same."""
    here = HostAddress("here", "", is_local=True)
    fleet = Fleet([here], FleetSettings(agent_program="/no/such/agent"))
    fleet.warm_up(["here", "x"])
    (first, error), (second, other) = fleet.ask_each({"here": PROBE, "x": PROBE})
    assert first == "x" and isinstance(error, HostError)
    assert str(error) == "x is not in the cluster database any more, so it cannot be asked"
    assert second == "here" and "host here, this machine, has no agent" in str(other)


def test_a_command_on_a_host_outside_the_fleet() -> None:
    """It is a fault of this system."""
    (result,) = Fleet([]).run_commands("true", ["x"], 5)
    assert result.state == "error" and "host x is not in this fleet; please report this" in result.message


@pytest.mark.slow
def test_commands_on_this_machine(tmp_path: Path) -> None:
    """Without SSH; in time, after the timeout, and in parallel: each waits for the others."""
    here = [HostAddress(f"local-{number}", "", is_local=True) for number in range(4)]
    fleet = Fleet(here)
    names = [host.name for host in here]
    meet = f"touch {tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) = 4 ]; do sleep 0.05; done; echo $((1+1))"
    results = list(fleet.run_commands(meet, names, 120))
    assert sorted(result.host for result in results) == names
    assert {(result.state, result.output) for result in results} == {("done", "2\n")}
    (scripted,) = fleet.run_scripts({names[0]: LONG_SCRIPT}, 120)
    assert (scripted.state, scripted.exit_status, scripted.output) == ("done", 7, "0\nhere\n")
    late = next(fleet.run_commands("echo a; sleep 600", names[:1], patience(1)))
    assert (late.state, late.exit_status, late.output) == ("timeout", None, "a\n")
    assert next(fleet.run_commands("printf '\\377'", names[:1], 0)).output == "\ufffd"


ASK_AND_WAIT = """
import sys
from rocks.fleet.fleet import Fleet, FleetSettings, HostAddress
from rocks.fleet.wire.facts import ProbeRequest
settings = FleetSettings(sys.argv[1] + "/id", sys.argv[1] + "/known_hosts", control_folder="")
settings = settings._replace(connect_deadline_seconds=600)
try:
    with Fleet([HostAddress("silent", "127.0.0.1", int(sys.argv[2]))], settings) as fleet:
        answers = fleet.ask_each({"silent": ProbeRequest()})
        print("waiting", flush=True)
        next(answers)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_ends_the_waiting(tmp_path: Path) -> None:
    """At once, whatever the host does or does not do."""
    settings = FleetSettings(str(tmp_path / "id"), str(tmp_path / "known_hosts"))
    line, _ = ensure_own_key(settings)
    silent = Silent()
    host = HostAddress("silent", "127.0.0.1", silent.port)
    record_host_keys(settings.known_hosts_file, host, (parse_host_key(line),))
    arguments = [sys.executable, "-c", ASK_AND_WAIT, str(tmp_path), str(silent.port)]
    process = start_with_pipes(arguments, {**os.environ, "PYTHONPATH": str(SOURCES)})
    assert process.stdout.readline() == b"waiting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    silent.close()
    assert output == b"interrupted\n"


def test_only_hosts_behind_ssh_load_its_library() -> None:
    """Commands on this machine start fast."""
    code = (
        "import sys; from rocks.fleet.fleet import Fleet, HostAddress\n"
        "f = Fleet([HostAddress('a', '', is_local=True)]); list(f.run_commands('true', ['a'], 5))\n"
        "print('paramiko' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    ended = run_checked([sys.executable, "-c", code], deadline_seconds=120, environment=environment)
    assert ended.text == "False\n"


@pytest.mark.system
@pytest.mark.slow
def test_a_login_that_takes_longer_than_its_command_waits_leaves_no_connection(
    ssh_settings: tuple[FleetSettings, SshServer], tmp_path: Path
) -> None:
    """A service asks slow hosts again and again."""

    def connections() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)}

    settings = ssh_settings[0]._replace(known_hosts_file=str(tmp_path / "known_hosts"))
    (tmp_path / "key").write_text(ensure_own_key(settings)[0] + "\n")
    slow = (
        f'AuthorizedKeysCommand /usr/bin/sh -c "sleep 2; cat {tmp_path}/key"\nAuthorizedKeysCommandUser root'
    )
    with ssh_server(tmp_path / "slow", "", f"{slow}\nLogLevel VERBOSE") as (server, _):
        host, before = known_host(server, settings), connections()
        with Fleet([host], settings) as fleet:
            ((_, answer),) = fleet.ask_each({host.name: PROBE}, limit_seconds=1)
        assert isinstance(answer, HostError) and connections() - before
        wait_until(lambda: "Accepted publickey" in (tmp_path / "slow" / "log").read_text())
        wait_until(lambda: not connections() - before, seconds=10)
