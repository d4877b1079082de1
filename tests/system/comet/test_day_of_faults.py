"""The hard steps of an owner's day: answers in the wrong order, a slow image, a server that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess  # noqa: TID251 - its class, of programs that fixtures have started
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.backends.executor import Answer
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Pool
from owners.computesets.batch import HostList, NewJob
from rocks.core.errors import HostError
from rocks.core.process import end_group, start_with_pipes
from tests.system.comet.conftest import HOSTS, SOURCE, Site
from tests.system.nucleus.test_computesets import program
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
SECONDS = 300.0


class LateBatch(HostList):
    """The first answer to a submission is lost: the job runs before anybody knows its number."""

    submissions = 0

    def submit(self, job: NewJob, may_exist: bool) -> int:
        number = super().submit(job, may_exist)
        self.submissions += 1
        if self.submissions == 1:
            raise HostError("the answer was lost")
        return number


def test_a_job_that_runs_before_its_submission_is_answered_and_a_slow_image(day: Site) -> None:
    """Steps 12, 13 and 22."""
    day.simulator.copy_seconds = 1200.0

    def nodes(key: str) -> set[Any]:
        found = day.comet("ann", "cluster", "vc2", "--format=json").json()
        return {it[key] for it in found if it["name"] in ("vm-vc2-0", "vm-vc2-1")}

    def state() -> str:
        return str(day.rows("SELECT state FROM computeset")[0][0])

    batch = LateBatch(day.pool, HOSTS)
    with day.at_work(batch):
        assert day.comet("ann", "start", "vc2", "vm-vc2-[0-1]", "--walltime=6h", "--wait=300").status == 0
        assert batch.submissions == 2
        assert day.rows("SELECT walltime_minutes, account FROM computeset") == [(360, "alp1")]
        ((hosts,),) = day.rows("SELECT hosts FROM host_job")
        placed = [day.simulator.guests[f"vm-vc2-{number}"].host for number in (0, 1)]
        assert sorted(json.loads(hosts)) == sorted(map(str, placed))
        wait_until(lambda: nodes("admin_state") == {"syncing"}, "images on their way to the hosts")
        day.clock.ahead_seconds += 1200.0
        wait_until(lambda: nodes("admin_state") == {"synced"}, "images on the hosts")

        with day.pool.transaction() as session:
            session.execute(
                "UPDATE computeset SET version = version + 1, notes ="
                " JSON_SET(notes, '$.walltime', JSON_OBJECT('at', 1, 'boot', '', 'since_boot', 1))"
            )
        wait_until(lambda: nodes("power") == {"off"}, "nodes are off at the end of the walltime")
        wait_until(lambda: nodes("admin_state") == {"syncing"}, "images on their way back")
        assert state() == "ending"
        assert day.rows("SELECT state FROM host_job") == [("running",)], "the hosts are not free"
        refused = day.comet("ann", "start", "vc2", "vm-vc2-0")
        assert (refused.status, "computeset" in refused.err) == (5, True)
        day.clock.ahead_seconds += 1200.0
        wait_until(lambda: state() == "completed", "the end of the set")
        wait_until(lambda: day.rows("SELECT state FROM host_job") == [("ended",)], "the hosts are free")
    changes = day.rows("SELECT old, new FROM event WHERE type = 'set.state' ORDER BY id")
    order = ["created", "submitted", "running", "ending", "completed"]
    assert [new for _, new in changes if new in order[2:]] == order[2:], "each once, and never back"
    assert all(order.index(old) < order.index(new) for old, new in changes if old)
    starts = [it for it in day.simulator.commands if it[:3] == ("start", "host", "vm")]
    assert sorted(it[3] for it in starts) == ["vm-vc2-0", "vm-vc2-1"], "each node was started once"


def test_a_node_that_takes_long_to_power_off_is_asked_once(
    day: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the guests' grace, which is 2 s here: at its end the set does not ask again."""
    ask = day.simulator.run

    def slowly(arguments: Sequence[str], deadline_seconds: float) -> Answer:
        if "action=poweroff" in arguments:
            time.sleep(7)
        return ask(arguments, deadline_seconds)

    monkeypatch.setattr(day.simulator, "run", slowly)
    day.simulator.guests["vm-vc2-0"].is_deaf = True
    with day.at_work():
        assert day.comet("ann", "start", "vc2", "vm-vc2-0", "--wait=300").status == 0
        ((number,),) = day.rows("SELECT id FROM computeset")
        ended = day.comet("ann", "terminate", str(number), "--wait=300")
        assert (ended.status, ended.out) == (0, f"computeset {number} is cancelled\n")
    assert day.rows("SELECT state FROM operation WHERE kind = 'poweroff_member'") == [("succeeded",)]


class Relay:
    """An address of TCP that stays, before a server's socket that comes and goes; unset `answers` holds them back."""

    def __init__(self, path: Path) -> None:
        self._path, self.answers = path, threading.Event()
        self.answers.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/nucleus"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._copy_both_ways, args=(client,), daemon=True).start()

    def _copy_both_ways(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self._path))
            back = threading.Thread(target=_copy, args=(server, client, self.answers), daemon=True)
            back.start()
            _copy(client, server, None)
            back.join()


def _copy(source: socket.socket, target: socket.socket, passes: threading.Event | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if passes is not None:
                passes.wait()
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _ann(pool: Pool) -> str:
    """Ann, who owns vc2; her token."""
    with pool.transaction() as session:
        user = identity.add_user(session, "ann", "ann@example.org", "Ann", "Test", False)
        project = identity.add_project(session, "alpha")
        identity.set_member(session, user, project, True)
        identity.acknowledge(session, user)
        (cluster,) = session.row("SELECT id FROM cluster WHERE name = 'vc2'") or (0,)
        assign_cluster(session, cluster, project)
        identity.add_allocation(session, "alp1")
        identity.set_allocation(session, cluster, "alp1", True)
        return store_token(session, user, ["computeset", "power"], None, None, "test")[1].text


def _comet(url: str, token: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {"HOME": str(folder), "PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    environment |= {"COMET_ENDPOINT": url, "COMET_TOKEN": token}
    return start_with_pipes([sys.executable, "-S", "-m", "comet", *arguments], environment)


def test_a_server_or_a_start_that_is_killed_loses_no_command_and_repeats_none(
    pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path
) -> None:
    """Step 17: killed when a set was just stored, and again while its nodes start; `comet` waits on.

    Then `comet` is killed before it has its answer, and the same command is given again, while other computes are free.
    """

    def rows(statement: str) -> list[tuple[Any, ...]]:
        with pool.transaction() as session:
            return session.rows(statement)

    def serve() -> subprocess.Popen[bytes]:
        (tmp_path / "nucleus.sock").unlink(missing_ok=True)
        return at_end.enter_context(program(nucleus_settings, tmp_path, "serve"))

    with contextlib.ExitStack() as at_end:
        relay = at_end.enter_context(contextlib.closing(Relay(tmp_path / "nucleus.sock")))
        at_end.enter_context(program(nucleus_settings, tmp_path, "executor", "--user", "root"))
        server = serve()
        wait_until(lambda: len(rows("SELECT id FROM cluster")) == 2, "the first poll")
        token = _ann(pool)
        wait_until((tmp_path / "nucleus.sock").exists, "the REST service")
        comet = _comet(relay.url, token, tmp_path, "start", "vc2", "--count=2", "--wait=300")
        at_end.callback(end_group, comet)
        wait_until(lambda: rows("SELECT id FROM computeset") != [], "the set")
        server.kill()
        server = serve()
        wait_until(lambda: rows("SELECT id FROM operation WHERE kind = 'start_member'") != [], "starts")
        server.kill()
        serve()
        _, error = comet.communicate(timeout=SECONDS)
        assert comet.returncode == 0, error
        wait_until(lambda: set(rows("SELECT state FROM operation")) == {("succeeded",)}, "all is done")
        assert rows("SELECT state FROM computeset") == [("running",)]
        assert len(rows("SELECT id FROM computeset")) == len(rows("SELECT id FROM host_job")) == 1
        kinds = [kind for (kind,) in rows("SELECT kind FROM operation")]
        assert sorted(kinds) == ["start_member", "start_member", "start_set"]
        more = ("start", "vc2", "--count=1", "--allocation=alp1")
        relay.answers.clear()
        killed = _comet(relay.url, token, tmp_path, *more)
        at_end.callback(end_group, killed)
        wait_until(lambda: len(rows("SELECT id FROM computeset")) == 2, "the second set")
        killed.kill()
        killed.communicate(timeout=SECONDS)
        relay.answers.set()
        again = _comet(relay.url, token, tmp_path, *more)
        printed, error = again.communicate(timeout=SECONDS)
        (_, (number,)) = rows("SELECT id FROM computeset ORDER BY id")
        assert printed.startswith(f"computeset {number} is accepted.".encode()), error
        assert error == b"this command was given before, and had no answer: it is continued\n"
