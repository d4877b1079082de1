"""`comet launch` against a small server, also killed or misled, with a program that stands for ssh."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess  # noqa: TID251 - the program is killed
import sys
from collections import namedtuple
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from comet.cli import launch
from comet.client import client, launch_frontend
from comet.client.client import Client
from comet.client.connection import Connection
from comet.client.errors import UnreachableError
from comet.client.launch_frontend import Frontend
from comet.client.launchers import Group
from tests.nucleus_server import answer, problem
from tests.unit.comet.conftest import sent
from tests.unit.comet.launching import ADDRESS, COMMAND, Launching, it
from tests.waiting import wait_until

__all__ = ["it"]


def test_a_command_runs_on_a_computeset_of_its_own(it: Launching) -> None:
    found = it.run("-n", "3", "-group=first")
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"])
    body = {"cluster": "vc2", "walltime_mins": 120, "count": 3}
    assert sent(it.server, "POST") == [("computeset/", body)]
    assert found.out.splitlines()[:3] == ["vm-vc2-0", "vm-vc2-1", "vm-vc2-2 say hello"]
    assert (it.folder / "first-results" / "poses" / "a").read_text() == "a ligand\n"
    assert (it.folder / "first-results" / "output").read_text().endswith("vm-vc2-2 say hello\n")
    assert it.left_on_frontend() == []
    assert "computeset 1 is accepted" in found.err
    again = it.run("--group=first")
    assert (again.status, len(it.server.sets), it.runs()) == (0, 1, 1)
    assert "was launched, and its command succeeded" in again.err and "choose another --group" in again.out


def test_a_command_runs_on_a_computeset_that_the_page_has_started(it: Launching) -> None:
    """With its nodes and its walltime, and it ends with the command."""
    assert it.comet("start", "vc2", "vm-vc2-[1-3]", "--walltime=5h").status == 0
    refused = [it.run("--computeset=1", one) for one in ("-n3", "--cluster=vc2", "--allocation=alp1")]
    assert [(one.status, one.err.split()[0]) for one in refused] == [
        (2, "-n"),
        (2, "--cluster"),
        (2, "--allocation"),
    ]
    assert [it.run(f"--computeset={one}").status for one in ("x", "2")] == [2, 4]
    (it.root / "away" / ADDRESS).touch()
    away = it.run("--computeset=1")
    assert (away.status, it.states()) == (6, ["running"]), "it can be tried again"
    assert "computeset 1 goes on, and is charged: repeat the command, or comet terminate 1" in away.err
    (it.root / "away" / ADDRESS).unlink()
    found = it.run("--computeset=1", "--group=first")
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"])
    assert found.out.splitlines()[:3] == ["vm-vc2-1", "vm-vc2-2", "vm-vc2-3 say hello"]
    assert (it.folder / "first-results" / "poses" / "a").read_text() == "a ligand\n"
    assert it.run("--computeset=1", "--group=first").status == 0, "it was launched"
    other = it.run("--computeset=2", "--group=first")
    assert other.status == 2 and "was not launched on computeset 2, but on 1: choose" in other.err
    ended = it.run("--computeset=1", "--group=second")
    assert ended.status == 2 and "computeset 1 is cancelled: start another one" in ended.err


def test_what_is_missing_is_named_before_anything_starts(it: Launching) -> None:
    (it.folder / "second-results").mkdir()
    (it.root / "away" / ADDRESS).touch()
    away = it.run()
    assert away.status == 6 and "vc2 is on: does ssh" in away.err and f"ssh root@{ADDRESS}" in away.err
    it.server.clusters[0]["frontend"]["power"] = "off"
    assert "vc2 is off" in it.run().err
    it.server.clusters[0]["frontend"]["power"] = "on"
    assert it.run("--group=second").status == it.run("--group=../x").status == 2
    it.server.clusters.append({**it.server.clusters[0], "name": "vc3"})
    several = it.run()
    assert several.status == 2 and "choose one with --cluster=NAME: vc2, vc3" in several.err
    assert it.run("--cluster=vc9").status == 4
    (it.root / "away" / ADDRESS).unlink()
    refused = it.run("--cluster=vc2", "-n", "5")
    assert (refused.status, refused.err) == (2, "the launcher needs 5 nodes, and vc2 has 4\n")
    assert it.server.sets == {} and it.left_on_frontend() == []
    assert it.run("--cluster=vc2").status == 0, "a refusal is not the end of a group"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"nodes": "0"}, "0 nodes launch nothing"),
        ({"nodes": "0x" + "f" * 5000}, "no cluster has so many nodes; give at most 100000"),
        ({"nodes": "true"}, "'nodes' is not a number"),
        ({"node": "1"}, "the key 'node' is unknown"),
        ({"walltime": '"2"'}, "is not understood: give a number"),
        ({"files": '["../x"]'}, "'../x' is not the name of a file or folder directly in"),
        ({"files": '["/etc"]'}, "'/etc' is not the name"),
        ({"files": '["nodes"]'}, "are taken"),
        ({"files": '["none"]'}, "there is no none in"),
        ({"files": '["link"]'}, "link leads out of the launcher's folder"),
        ({"results": '["-x"]'}, "'-x' is not the name"),
        ({"results": '"poses"'}, "'results' is not a list"),
        ({"files": "[1]"}, "'files' is not a list"),
        ({"user": '"-l x"'}, "is not a user's name"),
        ({"command": " "}, "command is empty"),
        ({"command": "a\0"}, "cannot be read"),
    ],
)
def test_a_launcher_that_cannot_be_launched_is_refused(
    it: Launching, more: dict[str, str], reason: str
) -> None:
    (it.folder / "dock" / "link").symlink_to("/etc")
    it.write(**more)
    found = it.run()
    assert found.status == 2 and reason in found.err
    assert it.server.requests == []


def test_other_folders_and_files_are_no_launchers(it: Launching) -> None:
    (it.folder / "dock" / "ligands" / "away").symlink_to("../../hosts")
    linked = it.run()
    assert linked.status == 2 and "leads out of the launcher's folder" in linked.err
    path = it.folder / "dock" / "launcher.toml"
    for text in ("nodes = ", "nodes = 1\n", "x = " + "[" * 100_000):
        path.write_text(text)
        assert it.run().status == 2
    path.unlink()
    none = it.run()
    assert none.status == 2 and "A launcher is a folder with a launcher.toml" in none.err
    assert it.run("-n", "0").status == 2 and it.server.requests == []


def test_of_a_command_that_fails_what_it_left_is_fetched(it: Launching) -> None:
    it.write("echo so far; printf '\\033[2Jx'; exit 3")
    found = it.run()
    assert found.status == 8 and "the command ended with exit status 3" in found.err
    assert "the command left no poses" in found.err and "\x1b" not in found.out
    assert (it.folder / "dock-results" / "output").exists() and it.states() == ["cancelled"]


def test_a_long_output_is_complete_in_the_results(it: Launching) -> None:
    it.write("head -c 600000 /dev/zero | tr '\\0' x; mkdir poses")
    found = it.run()
    assert found.status == 0 and found.out.partition("\n")[0] == "x" * (1 << 18)
    assert "the rest of what it printed is in the file output" in found.err
    assert (it.folder / "dock-results" / "output").stat().st_size == 600_000


def test_a_launch_that_nohup_started_outlasts_the_terminal(it: Launching) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        it.write(f"sleep 0.3; {COMMAND}")
        while_it_runs(it, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert (it.run().status, it.runs()) == (0, 1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_two_launches_of_one_group_at_once(it: Launching) -> None:
    with Group("dock").locked():
        found = it.run("--group=dock")
    assert (found.status, found.err) == (5, "group dock is being launched by another comet\n")
    assert it.server.requests == []


def test_another_launch_does_not_take_a_group_over(it: Launching) -> None:
    assert it.run("--group=one").status == 0
    shutil.copytree(it.folder / "dock", it.folder / "other")
    assert "from " in it.comet("launch", "other", "--group=one").err
    assert "with 2 nodes" in it.run("--group=one", "-n", "1").err
    assert "on vc2" in it.run("--group=one", "--cluster=vc3").err
    path = it.folder / ".local" / "state" / "comet" / "launch" / "one.json"
    path.write_text(path.read_text().replace('"key"', '"keys"'))
    broken = it.run("--group=one")
    assert broken.status == 2 and "remove the file" in broken.err


# what ends a launch before its command does

Look = Callable[[Frontend, int, int], tuple[str, bytes]]


def while_it_runs(it: Launching, act: Callable[[], None]) -> None:
    """Act at each look at the command."""
    real = Frontend.look

    def look(self: Frontend, offset: int, seconds: int = 0) -> tuple[str, bytes]:
        found = real(self, offset, 0)
        if found[0] == "running":
            act()
        return found

    it.patch.setattr(Frontend, "look", look)
    it.patch.setattr(launch, "WATCH_SECONDS", 0)


def is_over(it: Launching) -> bool:
    """Whether the command and what it started are gone: they hold this lock."""
    with (it.root / ADDRESS / "held").open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


WAITING = f"touch ../../begun; while [ ! -e ../../go ]; do sleep 0.1; done; {COMMAND}"
"""It goes on when the test says so."""

ENDLESS = "exec 9>../../held; flock 9; echo begun; mkdir poses; sleep 600"


def test_a_command_that_never_ends_is_ended_with_the_walltime(it: Launching) -> None:
    it.write(ENDLESS)
    while_it_runs(it, lambda: it.server.sets[1].update(state="completed", end_reason="walltime"))
    found = it.run()
    assert (
        found.status == 8
        and "computeset 1 is completed (its walltime is over), before the command ended" in found.err
    )
    wait_until(lambda: is_over(it))
    assert (it.folder / "dock-results" / "output").read_text() == "begun\n"


def test_a_node_that_dies_ends_the_launch(it: Launching) -> None:
    it.write(ENDLESS)
    while_it_runs(it, lambda: it.server.sets[1]["computes"][1].update(power="off"))
    found = it.run()
    assert found.status == 8 and "vm-vc2-1 of computeset 1 went off" in found.err
    wait_until(lambda: is_over(it))
    assert it.states() == ["cancelled"]


def test_ctrl_c_ends_the_computeset_and_the_results_can_be_fetched(it: Launching) -> None:
    it.write(ENDLESS)
    while_it_runs(it, lambda: os.kill(os.getpid(), signal.SIGTERM))
    found = it.run()
    assert found.status == 130 and "the same command again fetches it" in found.err
    wait_until(lambda: is_over(it))
    assert it.states() == ["cancelled"] and not (it.folder / "dock-results").exists()
    again = it.run()
    assert again.status == 130 and (it.folder / "dock-results" / "output").read_text() == "begun\n"
    assert len(it.server.sets) == 1


def test_a_closed_output_is_as_an_interrupt(it: Launching) -> None:
    """The record says so: `[Errno 32] Broken pipe` hid why the launch has ended."""
    it.write(ENDLESS)

    def close() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    while_it_runs(it, close)
    found = it.run()
    assert found.status == 130 and "dock: its output was closed\n" in found.err and "fetches it" in found.err
    wait_until(lambda: is_over(it))
    assert it.states() == ["cancelled"] and it.run().status == 130
    assert "dock: its output was closed\n" in it.run().err and (it.folder / "dock-results").exists()


def test_a_server_that_is_away_delays_the_end_only(it: Launching) -> None:
    it.write(ENDLESS)

    def go_away() -> None:
        it.server.answers["/v1/computeset"] = answer(502, b"")
        raise KeyboardInterrupt

    while_it_runs(it, go_away)
    with it.patch.context() as patch:
        patch.setattr(launch, "END_SECONDS", 0.1)
        found = it.run()
    assert found.status == 6 and "computeset 1 is not ended" in found.err and it.states() == ["running"]
    it.server.answers.clear()
    assert it.run().status == 130 and it.states() == ["cancelled"]
    wait_until(lambda: is_over(it))


def test_a_frontend_that_is_away_for_a_while_is_asked_again(it: Launching) -> None:
    moments = iter(("away", "back"))

    def interrupt() -> None:
        if next(moments, "") == "away":
            raise launch_frontend.UnreachableError("ssh: no answer")

    it.write(f"sleep 0.5; {COMMAND}")
    while_it_runs(it, interrupt)
    found = it.run()
    assert (found.status, it.runs()) == (0, 1) and "ssh: no answer; trying again" in found.err


def test_a_frontend_that_restarts_has_lost_the_command(it: Launching) -> None:
    it.write(f"{ENDLESS} & echo $$ >../../pid; wait")

    def kill() -> None:
        (pid,) = it.root.glob(f"{ADDRESS}/comet-launch/*/.comet/pid")
        with contextlib.suppress(ProcessLookupError):  # it was killed at the look before
            os.killpg(int(pid.read_text().split()[0]), signal.SIGKILL)

    while_it_runs(it, kill)
    found = it.run()
    assert found.status == 8 and "the frontend was restarted" in found.err and it.states() == ["cancelled"]


def test_nodes_that_never_answer_end_the_launch_and_it_can_be_tried_again(it: Launching) -> None:
    (it.root / "away" / "vm-vc2-1").touch()
    with it.patch.context() as patch:
        patch.setattr(launch, "BOOT_SECONDS", 0.1)
        found = it.run()
    assert found.status == 8 and "vm-vc2-1 does not answer by SSH, after 0.1 s" in found.err
    assert it.states() == ["cancelled"] and it.left_on_frontend() == []
    (it.root / "away" / "vm-vc2-1").unlink()
    assert it.run().status == 0 and it.states() == ["cancelled", "cancelled"]


def test_results_larger_than_the_disk_stay_on_the_frontend(it: Launching) -> None:
    it.write("mkdir poses; truncate -s 900M poses/sparse")
    disk = namedtuple("disk", "f_bavail f_frsize f_files f_favail")
    it.patch.setattr(os, "statvfs", lambda path: disk(900, 1 << 20, 0, 0))
    full = it.run()
    assert full.status == 8 and "they have 900 MB, and 884 MB can be used in" in full.err
    assert "comet-launch/dock." in full.err and it.states() == ["cancelled"]
    (file,) = it.root.glob(f"{ADDRESS}/comet-launch/*/poses/sparse")
    os.truncate(file, 5)
    assert it.run().status == 0 and (it.folder / "dock-results" / "poses" / "sparse").stat().st_size == 5


def test_an_answer_that_was_lost_is_not_asked_for_in_vain(it: Launching) -> None:
    real = it.server.route

    def lose(method: str, segments: list[str], query: Any, body: Any) -> Any:
        found = real(method, segments, query, body)
        if method == "POST":
            it.server.replayed["other"] = found
            return problem("backend-unavailable", 503, "the database is away")
        return found

    it.server.route = lose  # type: ignore[method-assign]
    found = it.run()
    assert found.status == 6 and "the same command again continues" in found.err
    assert it.states() == ["running"]
    key = next(headers["Idempotency-Key"] for method, _, headers, _ in it.server.requests if method == "POST")
    it.server.replayed[key] = it.server.replayed["other"]  # what the server's database has by then
    assert it.run().status == 0 and it.states() == ["cancelled"]


# `comet launch` where something odd or hostile happens: the computeset ends, and no result is lost.


def state_file(it: Launching) -> Any:
    return it.folder / ".local" / "state" / "comet" / "launch" / "dock.json"


def test_a_fault_of_the_program_ends_the_computeset(it: Launching) -> None:
    def fail(text: str) -> None:
        raise RuntimeError("a fault")

    it.patch.setattr(launch, "show_text", fail)
    assert it.run().status == 1
    assert it.states() == ["cancelled"] and (it.folder / "dock-results" / "output").exists()


@pytest.mark.slow
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
        if not any(file.read_text() for file in (it.root / ADDRESS).rglob("output")):
            return  # its command has written nothing yet
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
    it.patch.setattr(client, "_RESTART_PAUSE_SECONDS", 0.01)
    assert it.run().status == 3 and state_file(it).exists() and it.states() == ["running"]
    it.server.answers.clear()
    assert it.run().status == 0 and it.states() == ["cancelled"]


def test_a_name_of_a_compute_is_no_option_of_ssh(it: Launching) -> None:
    """Names come from the server, and `-oProxyCommand=` would run a command on the frontend."""
    it.server.clusters[0]["computes"][0]["name"] = "-oProxyCommand=id"
    assert it.run().status == 0
    assert "ssh -oProxyCommand=id -oProxyCommand=id\n" in (it.root / "log").read_text()


# `comet launch` that is killed at any moment, and given again.


SOURCE = Path(launch.__file__).resolve().parents[2]


class KilledError(BaseException):
    """Stands for kill -9: nothing of the launch handles it."""


def run_killed(it: Launching, moment: int, is_before: bool, end: type[BaseException] = KilledError) -> bool:
    """Whether there is a moment of this number: a request, a program, or a record of the state."""
    left = moment

    def at(real: Any) -> Any:
        def act(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and is_before:
                raise end
            found = real(*given, **named)
            if left == 0:
                raise end
            return found

        return act

    with pytest.MonkeyPatch.context() as patch:
        for kind, name in (
            (Connection, "request"),
            (Group, "save"),
            *((Frontend, name) for name in ("_ask", "send", "fetch")),
        ):
            patch.setattr(kind, name, at(getattr(kind, name)))
        try:
            it.run()
        except end:
            return True
    return left <= 0


def test_one_group_uses_a_computeset(it: Launching) -> None:
    """Of another group's command the first that ends would end the computeset."""
    it.write(WAITING)
    place = it.root / ADDRESS
    moment = next(
        moment for moment in range(1, 20) if run_killed(it, moment, False) and (place / "begun").exists()
    )
    assert moment > 5 and it.states() == ["running"]
    for stray in (".hidden.json", "broken.json"):
        Group("dock").path.with_name(stray).write_text("no launch")
    refused = it.run("--computeset=1", "--group=second")
    assert refused.status == 5 and "is launched on computeset 1: continue it with --group=dock" in refused.err
    (place / "go").touch()
    assert it.run().status == 0 and (it.runs(), it.states()) == (1, ["cancelled"])


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_a_launch_that_is_killed_at_any_moment_is_completed_by_the_same_command(
    it: Launching, is_before: bool
) -> None:
    moment = 1
    while run_killed(it, moment, is_before):
        found = it.run()
        assert found.status == 0, (moment, found)
        assert (it.runs(), it.states()) == (1, ["cancelled"]), (moment, found)
        assert (it.folder / "dock-results" / "poses" / "a").exists()
        shutil.rmtree(it.folder / "dock-results")
        shutil.rmtree(it.folder / ".local")
        (it.root / ADDRESS / "runs").unlink()
        it.server.sets.clear()
        moment += 1
    assert moment > 20


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_after_an_interrupt_at_any_moment_the_same_command_leaves_no_computeset(
    it: Launching, is_before: bool
) -> None:
    moment = 1
    while run_killed(it, moment, is_before, KeyboardInterrupt):
        is_continued = (it.folder / ".local" / "state" / "comet" / "launch" / "dock.json").exists()
        assert is_continued or it.left_on_frontend() == [], moment
        found = it.run()
        assert found.status in (0, 130) and set(it.states()) == {"cancelled"}, (moment, found)
        assert (it.folder / "dock-results").exists() or it.run().status == 0, (moment, found)
        shutil.rmtree(it.folder / "dock-results")
        shutil.rmtree(it.folder / ".local")
        it.server.sets.clear()
        moment += 1
    assert moment > 20


def test_an_interrupt_before_a_computeset_is_asked_for_leaves_nothing(
    it: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Frontend.prepare

    def interrupted(frontend: Frontend) -> None:
        prepare(frontend)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Frontend, "prepare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            it.run()
    assert (it.left_on_frontend(), it.states()) == ([], [])
    assert it.run().status == 0 and it.states() == ["cancelled"]


def test_a_program_that_is_killed_is_continued(it: Launching) -> None:
    it.write(WAITING)
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "comet", "launch", "dock"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((it.root / ADDRESS / "begun").exists, "the command did not begin")
    process.kill()
    process.wait()
    assert it.states() == ["running"]
    (it.root / ADDRESS / "go").touch()
    found = it.run()
    assert (found.status, it.runs(), it.states()) == (0, 1, ["cancelled"])
    assert "say hello" in found.out


def test_a_launch_that_was_killed_before_its_request_is_continued_days_later(
    it: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(frontend: Frontend) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Frontend, "prepare", killed)
        patch.setattr(launch._Run, "_forget", lambda run: None)
        with pytest.raises(KilledError):
            it.run()
    state = it.folder / ".local" / "state" / "comet" / "launch" / "dock.json"
    document = json.loads(state.read_text())
    state.write_text(json.dumps({**document, "asked_at": 1.0}))
    assert it.run().status == 0 and it.states() == ["cancelled"]


# The examples of launchers, by `comet launch`, with programs that stand for SSH, AutoDock Vina and MPI.


EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "launchers"
VINA = """#!/bin/sh
# --config box --receptor FILE --ligand FILE --out FILE
[ -s "$2" ] && [ -s "$4" ] && [ "${8#poses/}" = "${6#ligands/}" ] || exit 1
echo "MODEL 1\nREMARK VINA RESULT:  -$(wc -l <"$6").5  0.000  0.000" >"$8"
"""
MPICC = """#!/bin/sh
[ "$*" = "-O2 -o ring ring.c" ] && cp ring.c ring
"""
MPIRUN = """#!/bin/sh
for program; do :; done
echo "$3 $5 on" $(cat "$2") && test -s "$program" && rm "$program"
"""


@pytest.mark.parametrize("count", ["2", "4"])
def test_docking_shares_the_ligands_and_lists_the_best_first(it: Launching, count: str) -> None:
    it.write_programs(vina=VINA)
    found = it.comet("launch", str(EXAMPLES / "docking"), "-n", count, "--group=screen")
    assert found.status == 0, found
    results = it.folder / "screen-results"
    assert (results / "scores").read_text() == "-12.5 phenol\n-11.5 toluene\n-10.5 benzene\n"
    assert sorted(pose.name for pose in (results / "poses").iterdir()) == [
        "benzene.pdbqt",
        "phenol.pdbqt",
        "toluene.pdbqt",
    ]
    nodes = [
        line.split()[2] for line in (it.folder / "hosts" / "log").read_text().splitlines() if "vm-" in line
    ]
    assert len(set(nodes)) == int(count)


def test_a_program_with_mpi_is_built_brought_to_the_nodes_and_run(it: Launching) -> None:
    it.write_programs(mpicc=MPICC, mpirun=MPIRUN)
    found = it.comet("launch", str(EXAMPLES / "mpi"))
    assert found.status == 0, found
    assert (it.folder / "mpi-results" / "ring.txt").read_text() == "--map-by -n on vm-vc2-0 vm-vc2-1\n"
