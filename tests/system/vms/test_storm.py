"""An owner and an operator work while `rocks` and Nucleus are killed: nothing runs twice, nothing is left."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess  # noqa: TID251 - its class, of programs that `program` has started
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Pool
from rocks.core.process import run
from tests.generated import PROFILE
from tests.system.nucleus.conftest import nucleus_settings, pool, sql, worker_schema
from tests.system.nucleus.test_computesets import program
from tests.system.vms.site import IMAGES, LAUNCHER, ThreeMachines
from tests.waiting import wait_until

__all__ = ["nucleus_settings", "pool", "worker_schema"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.moments,
    pytest.mark.skipif(PROFILE != "random", reason="it kills for ten minutes: `make test-random` runs it"),
]

SEED = int(os.environ.get("STORM_SEED") or time.time())
"""What owners do and what is killed follow from it; when, also from the machine."""

OPERATIONS, KILLS = 300, 100
CLUSTERS = ("storm0", "storm1", "storm2", "storm3")
HOSTS = ("head", "vmh1", "vmh2")
ENDED = ("succeeded", "failed", "cancelled")


class Service:
    """A program of Nucleus that is started again when it was killed; it listens at `listens`."""

    def __init__(self, stack: contextlib.ExitStack, listens: Path, *given: Any, **more: Any) -> None:
        self._stack, self._listens, self._given, self._more = stack, listens, given, more
        self.start()

    def start(self) -> None:
        self._listens.unlink(missing_ok=True)
        self._process: subprocess.Popen[bytes] = self._stack.enter_context(
            program(*self._given, **self._more)
        )
        wait_until(self._listens.exists, f"{self._listens} is there")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.start()


class Storm:
    """The site, what was done on it, and what was killed."""

    def __init__(self, site: ThreeMachines, pool: Pool, folder: Path, token: str) -> None:
        self.site, self.pool, self.folder, self.token = site, pool, folder, token
        self.done: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.twice: set[str] = set()
        self.faults: list[str] = []
        self.is_over = threading.Event()

    # owners

    def ask(self, path: str) -> dict[str, Any] | None:
        """The operation that a PUT began; again until the service answers. None: refused."""
        headers = {"Authorization": f"Bearer {self.token}", "Prefer": "respond-async", "Host": "localhost"}
        headers["Idempotency-Key"] = str(uuid.uuid4())
        while True:
            connection = http.client.HTTPConnection("localhost")
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(60)
                connection.sock.connect(str(self.folder / "nucleus.sock"))
                connection.request("PUT", path, headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status == 202:
                    operation: dict[str, Any] = json.loads(content)
                    return operation
                if answer.status < 500 and answer.status != 429:
                    assert answer.status == 409, content
                    return None
            time.sleep(0.3)

    def power(self, cluster: str, action: str) -> str:
        """Have the owner do it, and wait for its end; the outcome."""
        operation = self.ask(f"/v1/cluster/{cluster}/frontend/{action}")
        if operation is None:
            return "refused"

        def state() -> str:
            return str(sql(self.pool, "SELECT state FROM operation WHERE id = %s", [operation["id"]])[0][0])

        wait_until(lambda: state() in ENDED, f"the end of {action} of {cluster}", 300)
        return state()

    def own(self, cluster: str) -> None:
        """The owner of a cluster works until enough was done; now and then, the operator moves the machine."""
        chance = random.Random(f"{SEED} {cluster}")
        try:
            while sum(self.done.values()) < OPERATIONS or sum(self.kills.values()) < KILLS:
                action = chance.choice(("poweron", "poweron", "poweroff", "reset", "move"))
                if action == "move":
                    line = ["move", "host", "vm", cluster, chance.choice(HOSTS)]
                    outcome = str(run([str(self.folder / "rocks"), *line], deadline_seconds=120).exit_status)
                else:
                    outcome = self.power(cluster, action)
                self.done[f"{action} {outcome}"] += 1
        except BaseException as error:
            self.faults.append(f"{cluster}: {error!r}")
            raise

    # watching and killing

    def watch(self) -> None:
        while not self.is_over.wait(0.1):
            self.twice |= {name for name in CLUSTERS if len(self.site.running(name)) > 1}

    def running(self) -> dict[int, str]:
        """Process → arguments of each `rocks` that runs, by its number in this namespace."""
        found = {}
        for file in (self.folder / "running").iterdir():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{file.name}/cmdline").read_text()
                if str(self.folder) in command or LAUNCHER[-1] in command:
                    found[int(file.name)] = file.read_text()
        return found

    def kill_rocks(self, chance: random.Random) -> None:
        changing = {
            one: arguments for one, arguments in self.running().items() if not arguments.startswith("list ")
        }
        if changing:
            number = chance.choice(list(changing))
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
                self.kills[changing[number].split()[0]] += 1


def serve(stack: contextlib.ExitStack, settings: DatabaseSettings, folder: Path) -> tuple[Service, Service]:
    """The executor, and the service."""
    variables = {
        "NUCLEUS_EXECUTOR_KIND": "local",
        "NUCLEUS_EXECUTOR_PROGRAM": str(folder / "rocks"),
    }
    executor = Service(
        stack, folder / "executor.sock", settings, folder, "executor", "--user", "root", batch=variables
    )
    variables = {"NUCLEUS_POLL_POWER_SECONDS": "5", "NUCLEUS_POLL_TOPOLOGY_SECONDS": "60"}
    return executor, Service(stack, folder / "nucleus.sock", settings, folder, "serve", batch=variables)


def owner_of_all(pool: Pool) -> str:
    """Ann, whose project has the clusters; her token."""
    with pool.transaction() as session:
        user = identity.add_user(session, "ann", "ann@example.org", "Ann", "Test", False)
        project = identity.add_project(session, "alpha")
        identity.set_member(session, user, project, True)
        identity.acknowledge(session, user)
        for (number,) in session.rows("SELECT id FROM cluster WHERE name LIKE 'storm%%'"):
            assign_cluster(session, number, project)
        return store_token(session, user, ["power"], None, None, "test")[1].text


def what_is_there(site: ThreeMachines) -> dict[str, Any]:
    """What a machine's life must not leave: devices, processes, files, domains, leases, and records of moves."""
    head = site.machines["head"]
    links = json.loads(head.run_checked(["/usr/sbin/ip", "-j", "link"], 30).text)
    return {
        "devices": sorted(one["ifname"] for one in links),
        "domains": {host: site.domains(host) for host in site.machines},
        "guests": {name: site.running(name) for name in CLUSTERS},
        "files": {
            host: sorted(path.name for path in machine.outside(IMAGES).iterdir())
            for host, machine in site.machines.items()
        },
        "leases": site.sql("SELECT Name, State, Host FROM vm_leases WHERE State <> 'released'"),
        "copies": site.sql("SELECT COUNT(*) FROM vm_disk_copies"),
    }


@pytest.fixture
def storm(
    site: ThreeMachines, pool: Pool, nucleus_settings: DatabaseSettings, tmp_path: Path
) -> Iterator[tuple[Storm, Service, Service]]:
    tmp_path.chmod(0o755)
    site.write_program(tmp_path / "rocks", tmp_path / "running")
    public = site.bridges["public"]
    for number, host in enumerate(HOSTS, 1):
        site.done(f"add host interface {host} {public} subnet=public ip=203.0.113.{number}")
        site.done(f"set host attr {host} vlan_transport local")
    for number, name in enumerate(CLUSTERS):
        site.done(
            # without computes, which would stay on their host when the frontend moves, beside its local VLAN
            f"add cluster 203.0.113.{number + 10} 0 fe-name={name} fe-container=vmh1 disk-per-frontend=1"
        )
        site.done(f"set host vm {name} mem=64")
        site.done(f"set host boot {name} action=os")
    with contextlib.ExitStack() as stack:
        executor, service = serve(stack, nucleus_settings, tmp_path)
        wait_until(lambda: len(sql(pool, "SELECT id FROM cluster WHERE name LIKE 'storm%%'")) == 4, "a poll")
        yield Storm(site, pool, tmp_path, owner_of_all(pool)), executor, service
    for name in CLUSTERS:
        site.rocks(f"remove cluster {name}")
    for host in HOSTS:
        site.done(f"remove host interface {host} {public}")
        site.done(f"remove host attr {host} vlan_transport")


def test_nothing_runs_twice_and_nothing_is_left(storm: tuple[Storm, Service, Service]) -> None:
    """Afterwards the same commands, repeated, are done: on, and off again."""
    work, executor, service = storm
    site, chance = work.site, random.Random(SEED)
    print(f"STORM_SEED={SEED} repeats it")
    before = what_is_there(site)
    owners = [threading.Thread(target=work.own, args=(name,)) for name in CLUSTERS]
    watcher = threading.Thread(target=work.watch)
    for thread in (*owners, watcher):
        thread.start()
    while any(thread.is_alive() for thread in owners):
        time.sleep(chance.uniform(0.1, 1.0))
        kind = chance.choice(("rocks", "rocks", "rocks", "executor", "service"))
        if kind == "rocks":
            work.kill_rocks(chance)
        else:
            (executor if kind == "executor" else service).kill()
            work.kills[kind] += 1
    work.is_over.set()
    watcher.join()
    print(
        f"{sum(work.kills.values())} kills {dict(work.kills)}, {sum(work.done.values())} operations {dict(work.done)}"
    )
    assert work.faults == [] and work.twice == set()

    for name in CLUSTERS:
        assert work.power(name, "poweron") == "succeeded", name
        assert len(site.running(name)) == 1
    for name in CLUSTERS:
        assert work.power(name, "poweroff") == "succeeded", name
        moved = site.rocks(f"move host vm {name} vmh1")
        assert moved.exit_status == 0 or "already" in moved.error_text, moved.error_text
    wait_until(lambda: work.running() == {}, "the end of every rocks")
    assert (
        sql(work.pool, "SELECT id FROM operation WHERE state NOT IN ('succeeded', 'failed', 'cancelled')")
        == []
    )
    after = what_is_there(site)
    assert sorted(after["files"].pop("vmh1")) == sorted(f"{name}.vda" for name in CLUSTERS)
    before["files"].pop("vmh1")
    assert after == before
