"""`comet launch` where something odd or hostile happens: the computeset ends, and no result is lost."""

import json
import os
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from comet.cli import launch
from comet.client import requests
from comet.client.client import Client
from comet.client.errors import UnreachableError
from comet.client.launch_frontend import Frontend
from tests.nucleus_server import answer, problem
from tests.unit.comet.launching import ADDRESS, COMMAND, Launching, it
from tests.unit.comet.test_launch import ENDLESS, is_over, while_it_runs
from tests.waiting import wait_until

__all__ = ["it"]


def state_file(it: Launching) -> Any:
    return it.folder / ".local" / "state" / "comet" / "launch" / "dock.json"


def test_a_fault_of_the_program_ends_the_computeset(it: Launching) -> None:
    def fail(text: str) -> None:
        raise RuntimeError("a fault")

    it.patch.setattr(launch, "show_text", fail)
    assert it.run().status == 1
    assert it.states() == ["cancelled"] and (it.folder / "dock-results" / "output").exists()


@pytest.mark.parametrize("status", [400, 401, 413, 429])
def test_a_repetition_that_is_refused_does_not_forget_the_computeset(it: Launching, status: int) -> None:
    start = Client.start

    def killed(self: Client, *given: Any, **named: Any) -> None:
        start(self, *given, **named)
        raise SystemExit

    with it.patch.context() as patch:
        patch.setattr(Client, "start", killed)
        with pytest.raises(SystemExit):
            it.run()
    it.server.answers["/v1/computeset"] = answer(status, b'{"type": "x/rate-limited", "detail": "not now"}')
    assert it.run().status != 0 and state_file(it).exists()
    it.server.answers.clear()
    assert it.run().status == 0 and it.states() == ["cancelled"]


@pytest.mark.parametrize(("status", "slug"), [(401, "not-authenticated"), (429, "rate-limited")])
def test_a_token_that_ends_does_not_end_the_command(it: Launching, status: int, slug: str) -> None:
    it.write(f"while [ ! -e ../../go ]; do sleep 0.05; done; {COMMAND}")
    real = it.server.route
    refused = iter(range(2))

    def refuse(method: str, segments: list[str], query: Any, body: Any) -> Any:
        has_begun = (it.root / ADDRESS / "begun").exists()
        if has_begun and method == "GET" and next(refused, None) is not None:
            return problem(slug, status, "not now")
        if has_begun:
            (it.root / ADDRESS / "go").touch()
        return real(method, segments, query, body)

    it.server.route = refuse  # type: ignore[method-assign]
    while_it_runs(it, (it.root / ADDRESS / "begun").touch)
    found = it.run()
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"]), found.err
    assert "the command goes on" in found.err


def test_a_folder_that_somebody_made_meanwhile_is_no_result(it: Launching) -> None:
    it.write(f"sleep 0.5; {COMMAND}")
    while_it_runs(it, lambda: (it.folder / "dock-results").mkdir(exist_ok=True))
    found = it.run()
    assert found.status == 8 and "dock-results exists now: move it to another place" in found.err
    (it.folder / "dock-results").rmdir()
    assert it.run().status == 0 and (it.folder / "dock-results" / "poses" / "a").exists()


def test_links_in_results_come_as_they_are(it: Launching) -> None:
    it.write("mkdir -p poses/run3; ln -s run3 poses/latest; ln -s nowhere poses/lost; ln -s /etc poses/away")
    assert it.run().status == 0
    poses = it.folder / "dock-results" / "poses"
    links = [str((poses / name).readlink()) for name in ("latest", "lost", "away")]
    assert links == ["run3", "nowhere", "/etc"]


@pytest.mark.parametrize("kind", ["folder", "loop", "pipe"])
def test_files_of_a_launcher_are_files_and_folders(it: Launching, kind: str) -> None:
    place = it.folder / "dock" / "ligands" / "odd"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("odd" if kind == "loop" else "../ligands")
    found = it.run()
    assert found.status == 2 and str(place) in found.err and it.server.requests == []


def test_a_command_that_is_no_line_is_refused(it: Launching) -> None:
    it.write("x" * 70_000)
    found = it.run()
    assert found.status == 2 and "give it as a script in files" in found.err


def test_a_state_of_another_version_is_no_success(it: Launching) -> None:
    assert it.run().status == 0
    document = json.loads(state_file(it).read_text())
    state_file(it).write_text(json.dumps({**document, "step": "archive"}))
    found = it.run()
    assert found.status == 2 and "of another version of comet" in found.err


def test_what_a_shell_prints_first_is_in_no_way(it: Launching) -> None:
    ssh = next(it.folder.glob("hosts/programs/ssh"))
    ssh.write_text(ssh.read_text().replace('cd "$root/$host"', 'echo "\nWelcome"; cd "$root/$host"'))
    found = it.run()
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"])
    assert (it.folder / "dock-results" / "poses" / "a").exists()


def test_a_number_that_another_process_has_now_is_not_ended(it: Launching) -> None:
    """After a restart of the frontend."""
    it.write(ENDLESS)

    def restart() -> None:
        (pid,) = it.root.glob(f"{ADDRESS}/comet-launch/*/.comet/pid")
        own = pid.read_text().split()
        if own[2] != "former":
            (it.root / "own").write_text(own[0])
            pid.write_text(f"{own[0]} {own[1]} former\n")

    while_it_runs(it, restart)
    found = it.run()
    assert found.status == 8 and "the frontend was restarted" in found.err
    assert not is_over(it), "the process of this number is not ours"
    os.killpg(int((it.root / "own").read_text()), 9)


def test_a_command_that_could_not_be_ended_is_named(it: Launching) -> None:
    it.write("exit 3")

    def fail(self: Frontend) -> None:
        raise UnreachableError("no answer")

    it.patch.setattr(Frontend, "stop", fail)
    found = it.run()
    assert found.status == 8 and f"the command may run on at root@{ADDRESS}: no answer" in found.err


@pytest.mark.parametrize("is_there", [True, False])
def test_a_site_that_was_made_anew_keeps_its_computeset(it: Launching, is_there: bool) -> None:
    """The number is another computeset's, or nobody's: what the command left is fetched, and nothing is to be done."""
    it.write(ENDLESS)

    def renew() -> None:
        if is_there:
            it.server.sets[1]["created"] = "2031-01-01T00:00:00Z"
        else:
            it.server.sets.clear()

    while_it_runs(it, renew)
    found = it.run()
    assert found.status == 8 and "the site has no computeset 1 of this launch any more" in found.err
    assert "remove" not in found.err and "again" not in found.err
    assert it.states() == ["running"] * is_there
    wait_until(lambda: is_over(it))
    assert (it.folder / "dock-results" / "output").read_text() == "begun\n"


def test_an_interrupted_request_that_is_refused_when_repeated_is_not_forgotten(it: Launching) -> None:
    start = Client.start

    def interrupted(self: Client, *given: Any, **named: Any) -> None:
        start(self, *given, **named)
        it.server.answers["/v1/computeset"] = answer(429, b'{"type": "x/rate-limited", "detail": "not now"}')
        it.patch.setattr(Client, "start", start)
        raise KeyboardInterrupt

    it.patch.setattr(Client, "start", interrupted)
    assert it.run().status != 0 and state_file(it).exists() and it.states() == ["running"]
    it.server.answers.clear()
    again = it.run()
    assert again.status == 130 and it.states() == ["cancelled"], again


@pytest.mark.parametrize("times", [1, 3])
def test_a_refusal_after_an_answer_that_was_lost_does_not_forget_the_computeset(
    it: Launching, times: int
) -> None:
    """The server ended the connection after it had started the computeset; then the token is no longer valid."""
    lost: list[int] = []

    def lose(handler: BaseHTTPRequestHandler) -> None:
        if not lost:
            started = it.server.route("POST", ["computeset"], {}, json.loads(it.server.requests[-1][3]))
            it.server.replayed[handler.headers["Idempotency-Key"]] = started
        lost.append(1)
        if len(lost) == times:
            it.server.answers["/v1/computeset"] = answer(
                401, b'{"type": "x/not-authenticated", "detail": "no"}'
            )
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    it.server.answers["/v1/computeset"] = lose
    it.patch.setattr(requests, "_RESTART_PAUSE_SECONDS", 0.01)
    assert it.run().status == 3 and state_file(it).exists() and it.states() == ["running"]
    it.server.answers.clear()
    assert it.run().status == 0 and it.states() == ["cancelled"]


def test_a_name_of_a_compute_is_no_option_of_ssh(it: Launching) -> None:
    """Names come from the server, and `-oProxyCommand=` would run a command on the frontend."""
    it.server.clusters[0]["computes"][0]["name"] = "-oProxyCommand=id"
    assert it.run().status == 0
    assert "ssh -oProxyCommand=id -oProxyCommand=id\n" in (it.root / "log").read_text()
