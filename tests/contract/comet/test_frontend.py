"""A frontend by OpenSSH's programs and a real server, and by the programs that stand for them in tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from comet.client.errors import OperationFailedError, UnreachableError
from comet.client.launch_frontend import Frontend
from lab.processes import end, identify
from rocks.core.process import run_checked, start_in_background
from tests.contract.conftest import need
from tests.contract.ssh_hosts import ssh_server
from tests.contract.ssh_programs import path_with, write_ssh_programs
from tests.patience import patience
from tests.waiting import wait_until

FRONTEND, COMPUTE = "203.0.113.9", "vm-vc2-0"
SESSION = """#!/bin/sh
{{ env; ls {remote}/..; }} >{remote}/session
cd {remote} && HOME={remote} PATH={programs}:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
CONFIGURATION = """Host away
  HostName 127.0.0.1
  Port 9
Host *
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  ForwardAgent yes
  ForwardX11 yes
  RemoteForward {folder}/forwarded-socket {folder}/none
  RequestTTY force
"""


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.system, pytest.mark.slow])])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The frontend's remote. The host `away` does not answer."""
    if request.param == "fake":
        monkeypatch.setenv("PATH", path_with(write_ssh_programs(tmp_path)))
        (tmp_path / "away" / "away").touch()
        (tmp_path / FRONTEND).mkdir()
        yield tmp_path / FRONTEND
        return
    need("/usr/sbin/sshd", "ssh")
    remote, programs, session = tmp_path / "remote", tmp_path / "programs", tmp_path / "session"
    remote.mkdir()
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {tmp_path}/config "$@"\n')
    (programs / "ssh").chmod(0o755)
    session.write_text(SESSION.format(remote=remote, programs=programs))
    session.chmod(0o755)
    key = tmp_path / "key"
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=patience(10)
    )
    with ssh_server(tmp_path / "sshd", key.with_suffix(".pub").read_text(), f"ForceCommand {session}") as (
        server,
        _,
    ):
        (tmp_path / "config").write_text(CONFIGURATION.format(port=server.port, folder=tmp_path))
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        monkeypatch.setenv("PATH", path_with(programs))
        yield remote


def assert_ended(file: Path) -> None:
    """The process whose number is in a file ends soon."""
    status = Path(f"/proc/{file.read_text().strip()}/stat")

    def has_ended() -> bool:
        try:
            return " Z " in status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(has_ended, f"the process of {file} has not ended", 30)


@pytest.fixture
def frontend(remote: Path) -> Frontend:
    found = Frontend("root", FRONTEND, "comet-launch/g.1")
    found.prepare()
    return found


def test_files_go_there_a_command_runs_once_and_its_results_come_back(
    frontend: Frontend, remote: Path, tmp_path: Path
) -> None:
    (tmp_path / "dock" / "in").mkdir(parents=True)
    (tmp_path / "dock" / "in" / "a").write_text("a ligand\n")
    frontend.prepare()
    frontend.wait_for([COMPUTE])
    for _ in range(2):
        frontend.send(tmp_path / "dock", ["in"], patience(30))
    for _ in range(2):
        frontend.start(
            "echo x >>count; cat nodes in/a; echo 'it'\"'\"'s $HOME' >&2; cp -r in out\n"
            "sleep 600 & echo $! >left; exit 3"
        )
    frontend.look(0, 0)
    wait_until(lambda: frontend.look(0)[0] != "running", "the command did not end", 30)
    state, text = frontend.look(0)
    assert (state, text) == ("3", f"{COMPUTE}\na ligand\nit's $HOME\n".encode())
    assert frontend.look(len(text) - 2) == ("3", b"E\n")
    assert_ended(remote / "comet-launch" / "g.1" / "left")
    assert (remote / "comet-launch" / "g.1" / "count").read_text() == "x\n"
    for _ in range(2):
        found = frontend.fetch(["output", "out", "none"], tmp_path / "results")
        assert found == {"output", "out"}
        assert (tmp_path / "results" / "out" / "a").read_text() == "a ligand\n"
    assert [it.name for it in tmp_path.glob(".*")] == []
    frontend.remove()
    assert list((remote / "comet-launch").iterdir()) == []


def test_a_command_outlasts_its_connection_and_is_stopped_with_what_it_started(
    frontend: Frontend, remote: Path
) -> None:
    frontend.start("sleep 600 & echo $! >sleeper; wait")
    assert frontend.look(0, 0) == ("running", b"")
    sleeper = remote / "comet-launch" / "g.1" / "sleeper"
    wait_until(lambda: sleeper.exists() and sleeper.read_text(), "the command did not begin", 30)
    frontend.stop()
    frontend.stop()
    assert frontend.look(0) == ("lost", b"")
    assert_ended(sleeper)


def test_errors_name_the_host_and_the_reason(frontend: Frontend, tmp_path: Path) -> None:
    away = Frontend("root", "away", "comet-launch/g.1")
    with pytest.raises(UnreachableError, match="ssh root@away: .*Connection refused"):
        away.prepare()
    with pytest.raises(OperationFailedError, match=f"ssh root@{FRONTEND}: .*away does not answer by SSH"):
        frontend.wait_for([COMPUTE, "away"])
    with pytest.raises(UnreachableError, match="ssh root@away: .*Connection refused"):
        away.send(Path(__file__).parent, [Path(__file__).name], patience(30))
    with pytest.raises(UnreachableError, match="ssh root@away: .*Connection refused"):
        away.fetch(["out"], tmp_path / "results")
    gone = Frontend("root", FRONTEND, "comet-launch/gone")
    with pytest.raises(OperationFailedError, match=f"ssh root@{FRONTEND}: .*comet-launch/gone"):
        gone.fetch(["out"], tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "remote", [pytest.param("real", marks=[pytest.mark.system, pytest.mark.slow])], indirect=True
)
def test_a_frontend_gets_nothing_that_the_user_forwards(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    agent = identify(start_in_background(["ssh-agent", "-D", "-a", str(socket)], tmp_path / "agent.log"))
    assert agent is not None
    try:
        wait_until(socket.exists, "the agent did not begin", 30)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("DISPLAY", ":9")
        Frontend("root", FRONTEND, "comet-launch/g.1").prepare()
    finally:
        end([agent], 0)
    session = (remote / "session").read_text()
    assert "SSH_CONNECTION=" in session
    assert not [it for it in ("SSH_AUTH_SOCK", "DISPLAY", "SSH_TTY", "forwarded-socket") if it in session]
