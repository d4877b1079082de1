"""A day's site: the simulator behind a real poller, MariaDB and uvicorn, and `comet` as a program of each person.

Clusters vc2 (project alpha, of ann) and vc3 (project beta, of bob), each with four computes that are off.
"""

import contextlib
import dataclasses
import json
import os
import subprocess  # noqa: TID251 - the program is started as its users start it
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest

from lab.simulator import Simulator
from nucleus.api.app import create_application
from nucleus.backends.rocks import Rocks
from nucleus.configuration import (
    AuthenticationSettings,
    BatchSettings,
    ComputesetSettings,
    Configuration,
    DatabaseSettings,
    ImageSettings,
    ListenSettings,
    PollSettings,
)
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.worker import Workers
from nucleus.poller.poller import Poller
from owners.computesets.batch import HostList
from owners.computesets.controller import ComputesetController
from tests.servers import free_port
from tests.system.nucleus.api.http_client import answering
from tests.system.nucleus.conftest import nucleus_settings, pool, worker_schema

__all__ = ["nucleus_settings", "pool", "worker_schema"]

SOURCE = Path(__file__).resolve().parents[3] / "src"
PASSWORD = "a person's password"
HOSTS = [f"vm-container-0-{number}" for number in range(6)]


class Result(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Service:
    """The server behind nginx, which can be stopped; `url` is where `comet` finds it."""

    def __init__(self, configuration: Configuration, pool: Pool, simulator: Simulator) -> None:
        listen = ListenSettings(port=free_port())
        self.url = f"http://127.0.0.1:{listen.port}/nucleus"
        self._stack = contextlib.ExitStack()
        self._application = create_application(configuration, pool, simulator)
        self._stack.enter_context(
            answering(self._application, dataclasses.replace(configuration, listen=listen))
        )

    def hang(self, seconds: float) -> None:
        """Have it do nothing for so long. It must have a stream of events, whose loop is blocked."""
        stream = next(iter(self._application.state.hub._by_id.values()))
        stream.loop.call_soon_threadsafe(time.sleep, seconds)

    def stop(self) -> None:
        """End it, and free its address."""
        self._stack.close()


class Clock:
    """The simulator's time, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_seconds


class Site(NamedTuple):
    """What a step looks at behind the server."""

    simulator: Simulator
    poller: Poller
    pool: Pool
    service: Service
    folder: Path
    configuration: Configuration
    clock: Clock

    @contextlib.contextmanager
    def at_work(self, batch: HostList | None = None) -> Iterator[None]:
        """With the parts of the server that act: poller, workers, and what drives computesets."""
        stop = threading.Event()
        settings, rocks = self.configuration, Rocks(self.simulator, 60)
        guard = Guard(settings.database, "computesets")
        controller = ComputesetController(settings, guard, batch or HostList(self.pool, HOSTS))
        parts = (self.poller.run, Workers(settings, self.pool, rocks).run, controller.run)
        threads = [threading.Thread(target=part, args=(stop,)) for part in parts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(120)

    def start(self, person: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Python for a person, who has a folder of the test; input is no terminal."""
        folder = self.folder / person
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            # it needs no packages, and their set-up takes as long as itself
            [sys.executable, "-S", *arguments],
            env={"HOME": str(folder), "PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, person: str, *arguments: str, typed: str = "") -> Result:
        process = self.start(person, *arguments)
        out, err = process.communicate(typed, timeout=300)
        assert "Traceback" not in err
        return Result(process.returncode, out, err)

    def comet(self, person: str, *arguments: str, typed: str = "") -> Result:
        return self.python(person, "-m", "comet", *arguments, typed=typed)

    def sign_in(self, person: str) -> Result:
        """`comet init` with the person's password."""
        options = ("--endpoint=dev", f"--url={self.service.url}", f"--user={person}")
        return self.comet(person, "init", *options, typed=f"{PASSWORD}\n")

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.pool.transaction() as session:
            return list(session.rows(statement))


@pytest.fixture
def day(site: Site) -> Site:
    """Ann has signed in, and acknowledged what she is responsible for."""
    assert site.sign_in("ann").status == 0
    assert site.comet("ann", "acknowledge", "--yes").status == 0
    return site


@pytest.fixture
def site(nucleus_settings: DatabaseSettings, pool: Pool, tmp_path: Path) -> Iterator[Site]:
    """The site after the first poll, with two people who have not signed in."""
    clock = Clock()
    simulator = Simulator(clusters=3, clock=clock, copy_seconds=1.0)
    passwords = tmp_path / "passwords"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    passwords.write_text("".join(f"{person}:{hashed}\n" for person in ("ann", "bob")))
    configuration = Configuration(
        database=nucleus_settings,
        images=ImageSettings(folder=str(tmp_path / "images")),
        authentication=AuthenticationSettings(password_file=str(passwords)),
        poll=PollSettings(power_seconds=3600.0, topology_seconds=3600.0),  # what is seen once stays fresh
        computesets=ComputesetSettings(grace_seconds=2.0),
        batch=BatchSettings(hosts=HOSTS),
    )
    guard = Guard(nucleus_settings, "poller")
    assert guard.take()
    often = dataclasses.replace(configuration, poll=PollSettings(power_seconds=0.5, topology_seconds=1.0))
    poller = Poller(often, Rocks(simulator, 60), guard)
    poller.poll()
    with pool.transaction() as session:
        for person, project, cluster in (("ann", "alpha", "vc2"), ("bob", "beta", "vc3")):
            user = identity.add_user(session, person, f"{person}@example.org", person.title(), "Test", False)
            number = identity.add_project(session, project)
            identity.set_member(session, user, number, True)
            (cluster_id,) = session.row("SELECT id FROM cluster WHERE name = %s", (cluster,)) or (0,)
            assign_cluster(session, cluster_id, number)
            identity.add_allocation(session, f"{project[:2]}p1")
            identity.set_allocation(session, cluster_id, f"{project[:2]}p1", True)
    service = Service(configuration, pool, simulator)
    yield Site(simulator, poller, pool, service, tmp_path, configuration, clock)
    service.stop()
    with contextlib.suppress(OSError):
        guard.release()
