"""R30: 140 owners at once, each with a clone of a cluster, from its first power-on until it is destroyed."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.nucleus.requests import Connection, Service, exchange, open_connection
from bench.service import Place, Running, free_port, listens, program, wait
from bench.site import CHECKOUT, BenchSite
from bench.table import Row, at_most, without_goal
from nucleus.api.access.authentication import store_token
from nucleus.api.access.credentials import OWNER_SCOPES
from nucleus.backends.executor import SocketExecutor
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import clusters, identity
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from rocks.core.errors import ToolError

OWNERS, COMPUTES = 140, 2
"""Owners, and the computes of each one's cluster. There are as many hosts as computes."""

_LOOK_SECONDS = 1.0
_STEP_SECONDS = 600.0
"""How long an owner waits for the end of one change."""

_IDLE_SECONDS = 3.0
"""The service ends a connection five seconds after its last answer."""

_LEFT = (
    "SELECT (SELECT COUNT(*) FROM operation WHERE state IN ('queued', 'running'))"
    " + (SELECT COUNT(*) FROM operation WHERE state NOT IN ('queued', 'running', 'succeeded'))"
    " + (SELECT COUNT(*) FROM computeset WHERE ended_at IS NULL)"
    " + (SELECT COUNT(*) FROM host_job WHERE state <> 'ended')"
    " + (SELECT COUNT(*) FROM cluster WHERE gone_at IS NULL) - 1"
)
"""What is not as before: changes without success, sets and jobs that have not ended, clusters but the original."""

_DESTROY = "cluster:destroy"
"""Owners name this scope for their tokens by themselves."""

_PICTURE = ("list", "host", "vm", "status=yes", "showdisks=yes", "json=yes")


class Owner(NamedTuple):
    """An owner's service, with the token, and the name of the cluster."""

    service: Service
    cluster: str


class Answers:
    """What the requests of all owners got: seconds, refusals, and how often one was asked to come again later."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refusals: list[str] = []
        self.later = 0

    def row(self) -> Row:
        """The slowest hundredth."""
        took = sorted(self.seconds)
        how = (
            f"{len(took)} answers; median {statistics.median(took) * 1000:.0f} ms, longest {took[-1]:.2f} s; without"
            f" the requests that wait for the end of a change; {self.later} times an owner was to come again later"
        )
        return at_most(
            "R30", f"{OWNERS} owners at once: an answer, p99", took[int(len(took) * 0.99)], 1.0, "s", how
        )


def measure(site: BenchSite) -> list[Row]:
    """On a schema of its own in the database server of the site."""
    socket = str(site.frontend.machine.outside("/var/opt/rocks/mysql/mysql.sock"))
    folder = site.folder / "many-owners"
    folder.mkdir(mode=0o700)
    return measure_class(
        Place(DatabaseSettings(socket, "bench_owners", "root"), folder / "executor.sock", folder)
    )


def measure_class(place: Place) -> list[Row]:
    """Clone, start, look, stop, destroy; then the site is compared with the one before. The schema is set up here."""
    set_up(place.settings)
    played = [sys.executable, "-m", "bench.nucleus.played_rocks", str(place.socket), "1", str(COMPUTES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)])}
    port, executor, pool = free_port(), SocketExecutor(str(place.socket)), Pool(place.settings)
    served = {**place.environment(port), "NUCLEUS_BATCH_HOSTS": f"compute-0-[0-{OWNERS * COMPUTES - 1}]"}
    serve = [sys.executable, "-m", "nucleus.cli", "serve"]
    with (
        program(played, environment, place.folder / "played.log") as rocks,
        program(serve, served, place.folder / "nucleus.log"),
    ):
        wait(place.socket.exists, "the played rocks")
        wait(lambda: listens(port), "`nucleus serve`")
        before = executor.run(_PICTURE, 60).out
        begin = time.monotonic()
        owners = _clone(rocks, pool, port)
        seen, answers = time.monotonic() - begin, Answers()
        begin = time.monotonic()
        failures = asyncio.run(_all_at_once(owners, answers))
        seconds = time.monotonic() - begin
        after = executor.run(_PICTURE, 60).out
        with pool.transaction() as session:
            left = int(session.value(_LEFT))
    pool.close()
    failures += [f"{left} changes, sets, jobs or clusters are left"] * bool(left)
    failures += ["the machines are not as before"] * (before != after)
    how = (
        "each powers the frontend on, starts a computeset, looks each second, ends and shuts down, and destroys the"
        f" cluster; all sets have a host for each node; {failures[0] if failures else 'the site is as before'}"
    )
    what = f"{OWNERS} owners at once, from the first request until the last cluster is gone"
    more = f"power of a frontend takes 1 s; before, Nucleus saw the {OWNERS} clones after {seen:.0f} s"
    return [
        answers.row(),
        Row("R30", f"{OWNERS} owners at once: failures", str(len(failures)), "0", not failures, how),
        without_goal("R30", what, f"{seconds:.0f} s", more),
    ]


def _clone(rocks: Running, pool: Pool, port: int) -> list[Owner]:
    """An operator clones the cluster for all owners, and gives each one's to a project of its own."""
    if not rocks.ask(str(OWNERS)):
        raise ToolError("the played rocks has ended")
    names = [f"vc{number}" for number in range(2, OWNERS + 2)]

    def are_known() -> bool:
        with pool.transaction() as session:
            return all(clusters.find_cluster(session, SYSTEM, name) for name in names)

    wait(are_known, "Nucleus's knowledge of the clones")
    with pool.transaction() as session:
        return [_give(session, name, port) for name in names]


def _give(session: Any, name: str, port: int) -> Owner:
    project = identity.add_project(session, f"project-{name}")
    user = identity.add_user(session, f"owner-{name}", "", "", "", False)
    identity.set_member(session, user, project, True)
    identity.add_allocation(session, f"allocation-{name}")
    cluster = clusters.find_cluster(session, SYSTEM, name)
    assert cluster is not None
    clusters.assign_cluster(session, cluster.id, project)
    clusters.bump_generation(session, [cluster.id])
    identity.set_allocation(session, cluster.id, f"allocation-{name}", True)
    return Owner(
        Service(port, store_token(session, user, [*OWNER_SCOPES, _DESTROY], None, None, "bench")[1].text),
        name,
    )


async def _all_at_once(owners: Sequence[Owner], answers: Answers) -> list[str]:
    """What has failed: a text for each owner who did not come to the end, and for each refusal."""

    async def one(owner: Owner) -> str | None:
        try:
            async with asyncio.timeout(5 * _STEP_SECONDS):
                await Day(owner, answers).live()
        except (ToolError, OSError, EOFError, TimeoutError) as error:
            return f"{owner.cluster}: {error or type(error).__name__}"
        return None

    found = await asyncio.gather(*map(one, owners))
    return [text for text in found if text is not None]


class Day:
    """An owner's, on two connections: changes are made and followed on one, and looked at on the other."""

    def __init__(self, owner: Owner, answers: Answers) -> None:
        self._owner = owner
        self._answers = answers
        self._path = f"/v1/cluster/{owner.cluster}"
        self._connections: dict[int, tuple[Connection, float]] = {}
        """Each with the moment of its last answer."""

    async def live(self) -> None:
        """All of it. ToolError for what is refused or fails, OSError and EOFError for a connection that ends."""
        try:
            await self._do()
        finally:
            for (_, writer), _ in self._connections.values():
                writer.close()

    async def _connection(self, number: int) -> Connection:
        """A new one where the service ends the old one soon, since it has had no request for a while."""
        connection, since = self._connections.get(number, (None, 0.0))
        if connection is not None and time.monotonic() - since < _IDLE_SECONDS:
            return connection
        if connection is not None:
            connection[1].close()
        return await open_connection(self._owner.service)

    async def _do(self) -> None:
        await self._ask("GET", "/v1/cluster", by=1)
        await self._change("PUT", f"{self._path}/frontend/poweron")
        requested = {"cluster": self._owner.cluster, "count": COMPUTES, "walltime_mins": 60}
        started = await self._change("POST", "/v1/computeset", json.dumps(requested).encode())
        place = f"/v1/computeset/{started['computeset']}"
        for path in (
            place,
            "/v1/computeset",
            f"{self._path}/frontend/console/log",
            f"{self._path}/frontend/console/screen",
        ):
            await self._ask("GET", path, by=1)
        await self._change("PUT", f"{place}/shutdown")
        await self._change("PUT", f"{self._path}/frontend/shutdown")
        while not self._is_at_rest(await self._look()):
            await asyncio.sleep(_LOOK_SECONDS)
        await self._change("DELETE", f"{self._path}?confirm={self._owner.cluster}", looks=False)
        if json.loads(await self._ask("GET", "/v1/cluster", by=1)):
            raise ToolError("the cluster is still listed after it was destroyed")

    async def _change(self, method: str, path: str, body: bytes = b"", looks: bool = True) -> dict[str, Any]:
        """Have something done, and look until it has ended; its operation."""
        asked = json.loads(await self._ask(method, path, body))
        ended = asyncio.create_task(self._until_ended(asked["id"]))
        try:
            while looks and not ended.done():
                await self._look()
                await asyncio.wait([ended], timeout=_LOOK_SECONDS)
            return await ended
        finally:
            ended.cancel()

    async def _until_ended(self, identifier: str) -> dict[str, Any]:
        async with asyncio.timeout(_STEP_SECONDS):
            found: dict[str, Any] = {"state": "queued"}
            while found["state"] in ("queued", "running"):
                found = json.loads(
                    await self._ask("GET", f"/v1/operation/{identifier}?wait=55", is_timed=False)
                )
        if found["state"] != "succeeded":
            raise ToolError(f"{found['kind']} has {found['state']}: {found['error']}")
        return found

    async def _look(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._ask("GET", self._path, by=1))
        return found

    @staticmethod
    def _is_at_rest(cluster: dict[str, Any]) -> bool:
        nodes = [cluster["frontend"], *cluster["computes"]]
        return all(one["power"] == "off" and one["image_state"] in (None, "unmapped") for one in nodes)

    async def _ask(
        self, method: str, path: str, body: bytes = b"", by: int = 0, is_timed: bool = True
    ) -> bytes:
        """The body of the answer, on one of the two connections; again later where the service asks for that."""
        request = self._owner.service.request(method, path, body)
        while True:
            begin = time.monotonic()
            connection = await self._connection(by)
            answer = await exchange(connection, request)
            now = time.monotonic()
            self._connections[by] = connection, now
            if is_timed:
                self._answers.seconds.append(now - begin)
            if answer.status != 429:
                break
            self._answers.later += 1
            await asyncio.sleep(float(answer.fields[b"retry-after"]))
        if not 200 <= answer.status < 300:
            raise ToolError(f"{method} {path} was answered {answer.status} {answer.body[:300]!r}")
        return answer.body
