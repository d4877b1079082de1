"""R26 and R28, inside the machine: how soon a computeset begins, with the hooks of the host package on all hosts.

`python -m bench.computesets.starts FOLDER` prints the rows as JSON. Nucleus is a program as at a site, with an owner's
requests by REST; `rocks` is played. Slurm has the times that `rocks report slurm` gives it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.computesets.site import ACCOUNT, FIRST_HOSTS, PARTITION, USER
from bench.nucleus.requests import Service, ask
from bench.service import Place, free_port, listens, program, wait
from bench.site import CHECKOUT
from bench.table import Row, at_most
from bench.timing import typical
from lab import database
from nucleus.api.access.authentication import store_token
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import clusters, identity
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from nucleus.states import LIVING_SETS, RUNNING
from owners.computesets import records as computesets
from owners.computesets.records import Computeset
from rocks.core.process import run_checked

STARTS, FOLLOWING = 20, 5
_CLUSTERS, _COMPUTES = 3, 4
_RESTART_SECONDS = 15.0
"""`RestartSec` of slurmd's unit, as profiles have it."""

_SECONDS = 60.0
_RUN_FOLDER = Path("/run/slurm-demo")


class Owner:
    """Requests of an owner, and what the mirror has of them."""

    def __init__(self, pool: Pool, service: Service) -> None:
        self.pool, self._service = pool, service

    def start(self, cluster: str, count: int) -> int:
        """A computeset of so many nodes; its number."""
        body = {"cluster": cluster, "count": count, "walltime_mins": 60}
        before = {one.id for one in self._sets()}
        self.request("POST", "/v1/computeset", json.dumps(body).encode())
        (new,) = {one.id for one in self._sets()} - before
        return new

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer."""
        return ask(self._service, method, path, body)

    def end(self, number: int) -> None:
        """Have it powered off."""
        with self.pool.transaction() as session:
            computesets.request_end(session, number, "poweroff")

    def look(self, number: int) -> Computeset:
        """The set as it is now."""
        return next(one for one in self._sets() if one.id == number)

    def on(self, number: int) -> int:
        """How many of its nodes are on."""
        with self.pool.transaction() as session:
            nodes = clusters.nodes_by_id(session, SYSTEM, self.look(number).node_ids)
        return sum(node.state == "active" for node in nodes.values())

    def _sets(self) -> list[Computeset]:
        with self.pool.transaction() as session:
            return computesets.list_computesets(session, SYSTEM)


def soon(condition: Callable[[], object]) -> float:
    """The moment at which the condition holds, looked at each 10 ms, by the clock that only counts."""
    found: list[float] = []

    def holds() -> bool:
        end = time.monotonic() + 0.1
        while not found and time.monotonic() < end:
            if condition():
                found.append(time.monotonic())
            time.sleep(0.01)
        return bool(found)

    wait(holds, "the next state of a computeset")
    return found[0]


def _ask(*arguments: str) -> str:
    return run_checked(arguments, deadline_seconds=_SECONDS).text.strip()


def wait_until_idle() -> None:
    """Until Slurm has no job on any host."""
    count = ("sinfo", "--noheader", f"--partition={PARTITION}", "--states=idle", "--format=%D")
    wait(lambda: _ask(*count) == str(len(FIRST_HOSTS)), "idle hosts")


@contextlib.contextmanager
def nucleus(folder: Path) -> Iterator[Owner]:
    """Nucleus with its owner, over played clusters and the machine's Slurm."""
    settings = DatabaseSettings(database.SOCKET, "bench_nucleus", "root")
    set_up(settings)
    place = Place(settings, folder / "executor.sock", folder)
    played = [
        sys.executable,
        "-m",
        "bench.nucleus.played_rocks",
        str(place.socket),
        str(_CLUSTERS),
        str(_COMPUTES),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)])}
    port, pool = free_port(), Pool(settings)
    batch = {"KIND": "slurm", "PARTITION": PARTITION, "USER": USER}
    served = {
        **place.environment(port),
        **{f"NUCLEUS_BATCH_{key}": value for key, value in batch.items()},
        "NUCLEUS_COMPUTESETS_GRACE_SECONDS": "5",
        "NUCLEUS_POLL_POWER_SECONDS": "1",
    }
    serve = [sys.executable, "-m", "nucleus.cli", "serve"]
    with program(played, environment, folder / "played.log"):
        wait(place.socket.exists, "the played rocks")
        with program(serve, served, folder / "nucleus.log"):
            wait(lambda: listens(port), "`nucleus serve`")
            wait(lambda: _has_cluster(pool), "the first poll")
            yield Owner(pool, Service(port, _permit(pool)))
    pool.close()


def _has_cluster(pool: Pool) -> bool:
    with pool.transaction() as session:
        return clusters.find_cluster(session, SYSTEM, f"vc{_CLUSTERS}") is not None


def _permit(pool: Pool) -> str:
    """Give all clusters to an owner, with the account; the owner's token."""
    with pool.transaction() as session:
        project = identity.add_project(session, "bench")
        session.execute("UPDATE cluster SET project_id = %s", (project,))
        identity.add_allocation(session, ACCOUNT)
        for number in range(1, _CLUSTERS + 1):
            found = clusters.find_cluster(session, SYSTEM, f"vc{number}")
            assert found is not None
            identity.set_allocation(session, found.id, ACCOUNT, True)
        user = identity.add_user(session, "ann", "", "", "", False)
        identity.set_member(session, user, project, True)
        return str(store_token(session, user, ["power", "computeset"], None, None, "bench")[1].text)


def _ended(owner: Owner, number: int) -> None:
    owner.end(number)
    wait(lambda: owner.look(number).state not in LIVING_SETS, "the end of a computeset")


def _measure_starts(owner: Owner) -> list[Row]:
    """From requests at moments by chance to the first node that is on; all hosts are idle."""
    chance, took = random.Random(0), []  # noqa: S311 - no secret
    for _ in range(STARTS):
        wait_until_idle()
        time.sleep(chance.random())
        begin = time.monotonic()
        number = owner.start("vc1", 2)
        took.append(soon(functools.partial(owner.on, number)) - begin)
        _ended(owner, number)
    how = (
        f"median of {STARTS}, longest {max(took):.2f} s; two nodes; REST, sbatch, prologs of two hosts, squeue, and"
        " the start of a node, until the mirror has it on"
    )
    return [
        at_most(
            "R26",
            "computeset requested → its first node on, hosts idle in Slurm",
            typical(took),
            1.5,
            "s",
            how,
        )
    ]


def _follow(owner: Owner, is_slurmd_killed: bool) -> float:
    """Seconds from the moment when all nodes of a set are off to the first node of the one that waits for its hosts."""
    wait_until_idle()
    first = owner.start("vc1", len(FIRST_HOSTS))
    wait(lambda: owner.on(first) == len(FIRST_HOSTS), "the nodes of the first computeset")
    second = owner.start("vc2", len(FIRST_HOSTS))
    wait(lambda: owner.look(second).waiting, "the wait of the second computeset")
    if is_slurmd_killed:
        _ask("kill", "-KILL", (_RUN_FOLDER / f"run/slurmd.{FIRST_HOSTS[0]}.pid").read_text("ascii").strip())
    owner.end(first)
    begin = soon(lambda: not owner.on(first) and owner.look(first).state != RUNNING)
    if is_slurmd_killed:
        time.sleep(_RESTART_SECONDS)
        slurmd, stepd = (str(_RUN_FOLDER / "sbin" / name) for name in ("slurmd", "slurmstepd"))
        settings = f"SLURM_CONF={_RUN_FOLDER}/etc/slurm.conf"
        _ask("env", settings, slurmd, "-d", stepd, "-N", FIRST_HOSTS[0])
    took = soon(lambda: owner.on(second)) - begin
    _ended(owner, second)
    return took


def _measure_following(owner: Owner) -> list[Row]:
    took = [_follow(owner, is_slurmd_killed=False) for _ in range(FOLLOWING)]
    how = f"median of {FOLLOWING}, longest {max(took):.2f} s; four hosts, their epilogs and prologs included"
    rows = [
        at_most(
            "R28", "nodes of a computeset off → first node of the next one on", typical(took), 5, "s", how
        )
    ]
    killed = [_follow(owner, is_slurmd_killed=True) for _ in range(2)]
    how = f"longest of {len(killed)}; slurmd is back {_RESTART_SECONDS:g} s later, as by its unit"
    return [*rows, at_most("R28", "the same, slurmd of a host killed before", max(killed), 90, "s", how)]


def main(folder: Path) -> None:
    """Print the rows."""
    with nucleus(folder) as owner:
        rows = [*_measure_starts(owner), *_measure_following(owner)]
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
