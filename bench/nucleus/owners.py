"""R10 (REST), R22, R23 and R31: Nucleus with 20,000 virtual machines, and `comet`; what `rocks` answers is played."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import peers
from bench.nucleus.fairness import measure_turns
from bench.nucleus.requests import Service, ask, ask_steadily, follow
from bench.service import Place, free_port, listens, program, wait
from bench.site import CHECKOUT, BenchSite
from bench.table import Row, at_most, not_measured, without_goal
from bench.timing import in_turns, run_seconds, typical
from nucleus.api.access.authentication import store_token
from nucleus.api.cached_clusters import store_texts
from nucleus.backends import rocks as commands
from nucleus.backends.executor import SocketExecutor
from nucleus.backends.rocks import Rocks, Source
from nucleus.configuration import Configuration, DatabaseSettings
from nucleus.mirror import identity
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from rocks.core.errors import HostError, ToolError

CLUSTERS, COMPUTES = 200, 99
CHANGED = 1000
EACH_SECOND, SECONDS = 300, 75.0
"""Longer than the interval of the topology: a complete poll and several of power and images are in it."""

FOLLOWERS, USERS = 200, 10
ROUNDS = 9
_COUNTERS = ("Questions", "Com_commit", "Handler_write", "Handler_update", "Handler_delete")


def measure(site: BenchSite) -> list[Row]:
    """All figures; the poller's own first, in this process, then those of the service with the poller in it."""
    settings = DatabaseSettings(
        str(site.frontend.machine.outside("/var/opt/rocks/mysql/mysql.sock")), "bench_nucleus", "root"
    )
    set_up(settings)
    folder = site.folder / "nucleus"
    folder.mkdir(mode=0o700)
    place = Place(settings, folder / "executor.sock", folder)
    played = [
        sys.executable,
        "-m",
        "bench.nucleus.played_rocks",
        str(place.socket),
        str(CLUSTERS),
        str(COMPUTES),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)])}
    with program(played, environment, folder / "played.log"):
        wait(place.socket.exists, "the played rocks")
        rows = _polls(site, place)
        return [*rows, *_served(place), *_comet_alone()]


def _polls(site: BenchSite, place: Place) -> list[Row]:
    """The processor seconds of polls, of this process: JSON, comparison and the driver of the database."""
    executor = SocketExecutor(str(place.socket))
    guard = Guard(place.settings, "poller")
    if not guard.take():
        raise ToolError("another poller has the lease of the bench's schema")
    configuration = Configuration(database=place.settings)
    rows = []

    def poll(poller: Poller, what: str, limit: float, sources: Sequence[Source] = commands.SOURCES) -> None:
        before, begin = site.status(*_COUNTERS), time.process_time()
        poller.poll(sources)
        seconds = time.process_time() - begin
        after = site.status(*_COUNTERS)
        spent = {name: after[name] - before[name] for name in _COUNTERS}
        changed = sum(count for name, count in spent.items() if name.startswith("Handler"))
        how = (
            f"processor time of the poller, once; {spent['Questions']} statements in {spent['Com_commit']}"
            f" transactions, {changed} rows written"
        )
        rows.append(at_most("R22", f"poll of 20,000 virtual machines: {what}", seconds, limit, "s", how))

    try:
        poller = Poller(configuration, Rocks(executor, 60), guard, store_texts)
        poll(poller, "the first one, into an empty mirror", 2.0)
        poller.poll()  # reads what the first one has written
        poll(poller, "all of it, nothing has changed", 1.0)
        power = [commands.VM, commands.STORAGEMAP]
        poll(poller, "power and images, nothing has changed", 1.0, power)
        for number in range(CHANGED):
            name = f"vm-vc{1 + number // COMPUTES}-{number % COMPUTES}"
            executor.run(["set", "host", "vm", name, "physnode=compute-0-0", "json=yes"], 60)
            executor.run(["start", "host", "vm", name, "json=yes"], 60)
        poll(poller, f"power and images, {CHANGED} machines were started", 2.0, power)
        again = Poller(configuration, Rocks(executor, 60), guard, store_texts)
        poll(again, "the first one after the start of the service", 2.0)
    finally:
        guard.release()
    return rows


def _served(place: Place) -> list[Row]:
    services = _tokens(place)
    port = services[0].port
    arguments = [sys.executable, "-m", "nucleus.cli", "serve"]
    with program(arguments, place.environment(port), place.folder / "nucleus.log") as running:
        wait(lambda: listens(port), "`nucleus serve`")
        wait(lambda: b'"stale":true' not in ask(services[0], "GET", "/v1/cluster/vc1"), "the first poll")
        begin = time.monotonic()
        size = len(ask(services[0], "GET", "/v1/cluster/"))
        how = f"the first request of the service, once; {size / 1e6:.1f} MB"
        rows = [
            at_most("R10", "`GET /v1/cluster/`, 20,000 machines", time.monotonic() - begin, 0.3, "s", how)
        ]
        rows += _answers(services)
        rows += _delays(place, services)
        rows += _comet(place, services[0])
        rows.append(_memory(running.number))
        rows += _turns(place, services[0])
    return rows


def _turns(place: Place, owner: Service) -> list[Row]:
    """Half of the clusters become another project's."""
    pool = Pool(place.settings)
    own, greedy = ([f"vc{number + begin}" for number in range(50)] for begin in (21, 101))
    with pool.transaction() as session:
        project = identity.add_project(session, "greedy")
        session.update("cluster", {"project_id": project}, name=greedy)
    try:
        return measure_turns(pool, owner, own[: 2 * ROUNDS], greedy)
    finally:
        pool.close()


def _tokens(place: Place) -> list[Service]:
    """Owners of all clusters: each may follow events by twenty streams only."""
    pool, port = Pool(place.settings), free_port()
    services = []
    with pool.transaction() as session:
        project = identity.add_project(session, "bench")
        session.execute("UPDATE cluster SET project_id = %s", (project,))
        for number in range(USERS):
            user = identity.add_user(session, f"owner{number}", "", "", "", False)
            identity.set_member(session, user, project, True)
            services.append(Service(port, store_token(session, user, ["power"], None, None, "bench")[1].text))
    pool.close()
    return services


def _answers(services: Sequence[Service]) -> list[Row]:
    paths = [f"/v1/cluster/vc{number}" for number in range(1, CLUSTERS + 1)]
    took = sorted(ask_steadily(services, paths, EACH_SECOND, SECONDS))
    half, most = statistics.median(took) * 1000, took[-1] * 1000
    p99 = took[int(len(took) * 0.99)] * 1000
    how = (
        f"{len(took)} requests of 200 clusters in {SECONDS:g} s, each from its moment to the end of its answer;"
        f" median {half:.1f} ms, longest {most:.0f} ms; the poller runs at its intervals"
    )
    what = f"REST: GET of a cluster of 100 machines at {EACH_SECOND} requests/s, p99"
    return [at_most("R10", what, p99, 10, "ms", how)]


def _delays(place: Place, services: Sequence[Service]) -> list[Row]:
    """Frontends are powered on by owners: each gives events of the operation and of the machine."""

    async def change() -> None:
        for number in range(1, 21):
            service = services[number % len(services)]
            path = f"/v1/cluster/vc{number}/frontend/poweron"
            await asyncio.to_thread(ask, service, "PUT", path)
            await asyncio.sleep(0.2)

    followers = [services[number % len(services)] for number in range(FOLLOWERS)]
    delays = sorted(follow(followers, change, 5.0))
    if len(delays) < FOLLOWERS * 20:
        raise HostError(f"only {len(delays)} events came; see {place.folder / 'nucleus.log'}")
    p99 = delays[int(len(delays) * 0.99)] * 1000
    how = f"{len(delays)} events; median {statistics.median(delays) * 1000:.0f} ms, longest {delays[-1] * 1000:.0f} ms"
    what = f"from an event to its {FOLLOWERS} followers, p99"
    return [at_most("R22", what, p99, 100, "ms", how)]


def _memory(number: int) -> Row:
    """Of the service and the process of its poller; what they share counts once."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text("ascii").split()
    found = [_megabytes(one) for one in (str(number), *children)]
    resident = " and ".join(f"{one['Rss']:.0f} MB" for one in found)
    how = f"proportional (PSS) after all of this, service and poller; resident (RSS), shared pages in both: {resident}"
    what = "memory of Nucleus with 20,000 virtual machines"
    return at_most("R22", what, sum(one["Pss"] for one in found), 150, "MB", how)


def _megabytes(process: str) -> dict[str, float]:
    """Pss, Rss and others of a process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text("ascii").splitlines()[1:]
    return {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _comet(place: Place, service: Service) -> list[Row]:
    environment = {
        **_comet_environment(),
        "COMET_ENDPOINT": f"http://127.0.0.1:{service.port}",
        "COMET_TOKEN": service.token,
        "HOME": str(place.folder),
    }
    (took,) = in_turns([lambda: run_seconds([*_COMET, "ll", "vc1"], environment)], ROUNDS)
    what = "`comet ll` of a cluster of 100 machines"
    how = f"the whole command, median of {ROUNDS}"
    return [without_goal("R23", what, f"{typical(took) * 1000:.0f} ms", how)]


_PYTHON = ("/usr/bin/python3",)
_COMET = (*_PYTHON, "-m", "comet")


def _comet_environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}


def _comet_alone() -> list[Row]:
    environment = _comet_environment()
    start, completion = in_turns(
        [
            lambda: run_seconds([*_COMET, "--version"], environment),
            lambda: run_seconds([*_COMET, "--complete", "1", "comet", "clu"], environment),
        ],
        ROUNDS,
    )
    how = f"the whole command, median of {ROUNDS}"
    return [
        at_most("R23", "start of `comet` (`comet --version`)", typical(start) * 1000, 150, "ms", how),
        at_most("R23", "completion of a word in the shell", typical(completion) * 1000, 50, "ms", how),
        _beside_openstack(),
    ]


def _beside_openstack() -> Row:
    """The client of another cloud starts in an environment of its own, which is made once."""
    what = "start of `comet` / of `openstack` (python-openstackclient), both with `--version`"
    try:
        programs = peers.from_pypi("bench-openstack", "openstack", "python-openstackclient")
        ours, theirs = in_turns(
            [
                lambda: run_seconds([*_COMET, "--version"], _comet_environment()),
                lambda: run_seconds([str(programs / "openstack"), "--version"], os.environ),
            ],
            ROUNDS,
        )
    except ToolError as error:
        return not_measured("R23", what, str(error))
    took = f"{typical(ours) * 1000:.0f} ms / {typical(theirs) * 1000:.0f} ms, medians of {ROUNDS}, in turns"
    return without_goal("R23", what, f"{typical(ours) / typical(theirs):.2f}", took)
