"""`comet launch` against a small server, with a program that stands for ssh (`tests/contract/comet` compares)."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest

from comet.cli import launch
from comet.client import launch_frontend
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
    assert several.status == 2 and "choose a cluster with --cluster=NAME: vc2, vc3" in several.err
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
        ({"walltime": '"2"'}, "is not a number of at least 1 with one of the units"),
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
