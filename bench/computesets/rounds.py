"""R27, inside the machine: the time of a round, and the life of many sets of all sizes among batch jobs.

`python -m bench.computesets.rounds` prints the rows as JSON. The controller and Slurm are real; nodes do at once what
they are asked to. While the sets live, the invariants of computesets are compared in each round.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bench.computesets.site import ACCOUNT, OTHERS, PARTITION, USER
from bench.table import Row, at_most, without_goal
from bench.timing import typical
from lab import database
from lab.slurm.nodes import obey
from nucleus.configuration import BatchSettings, Configuration, DatabaseSettings
from nucleus.hostlists import expand
from nucleus.mirror import identity
from nucleus.mirror.migrate import set_up
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.timers import Clock
from nucleus.records import SYSTEM
from nucleus.states import CANCELLED, LIVING_SETS, RUNNING
from owners.computesets import records as computesets
from owners.computesets.controller import ComputesetController
from owners.computesets.records import Computeset
from owners.computesets.slurm import Slurm
from rocks.core.errors import IncoherentError, ToolError
from rocks.core.process import Finished, run_checked

SETS, LARGEST = 300, 512
ROUNDS = 20
_CLUSTERS = 30
_BATCH_BEFORE, _BATCH_AFTER = 600, 400
_ENDED_AT_ONCE = 40
_BUSY_ROUNDS = 40
"""So many rounds among batch jobs; then all is asked to end."""
_SECONDS = 600.0
_MAX_ROUNDS = 2000


class Counting(Slurm):
    """Counts the programs of Slurm that it starts."""

    count = 0

    def run(self, program: str, *arguments: str, standard_input: bytes = b"") -> Finished:
        self.count += 1
        return super().run(program, *arguments, standard_input=standard_input)


class JobLine(NamedTuple):
    """A job as squeue prints it."""

    id: int
    name: str
    state: str
    user: str
    hosts: frozenset[str]


class Site:
    """The controller, its database and its Slurm; `clock` can be put forward."""

    def __init__(self) -> None:
        self.settings = DatabaseSettings(database.SOCKET, "bench_nucleus", "root")
        set_up(self.settings)
        self.pool = Pool(self.settings)
        self.batch = Counting(BatchSettings("slurm", PARTITION, USER), command_seconds=60.0)
        self._ahead = 0.0
        real = Clock()
        clock = Clock(real.now, lambda: real.since_boot() + self._ahead)
        self._guard = Guard(self.settings, "computesets")
        self.controller = ComputesetController(Configuration(), self._guard, self.batch, clock)

    def drive(self) -> None:
        """A round of the controller, after the question whether it still has the lease."""
        if not self._guard.take():
            raise ToolError("another controller has the lease of the bench's schema")
        self.controller.round()

    def round(self) -> None:
        """A round, and what nodes do then."""
        self.drive()
        obey(self.pool)

    def reconcile(self) -> None:
        """A round that looks at charges, too."""
        self._ahead += 31
        self.round()

    def sets(self, states: Sequence[str] = ()) -> list[Computeset]:
        """The sets as they are now."""
        with self.pool.transaction() as session:
            return computesets.list_computesets(session, SYSTEM, states)

    def jobs(self) -> list[JobLine]:
        """All jobs that have not ended."""
        found = []
        for line in _ask("squeue", "--noheader", "--format=%i|%j|%T|%u|%N").splitlines():
            number, name, state, user, hosts = line.split("|")
            found.append(
                JobLine(int(number), name, state, user, frozenset(expand(hosts)) if hosts else frozenset())
            )
        return found


def _ask(program: str, *arguments: str) -> str:
    return run_checked((program, *arguments), deadline_seconds=_SECONDS).text.strip()


def _add_sets(site: Site, sizes: Sequence[int]) -> None:
    """Sets of these sizes, each of nodes of its own; some in each cluster."""
    with site.pool.transaction() as session:
        project = identity.add_project(session, "bench")
        for number in range(_CLUSTERS):
            columns = {"name": f"vc{number}", "rocks_name": f"vc{number}", "project_id": project}
            cluster = session.insert("cluster", columns)
            for size in sizes[number::_CLUSTERS]:
                first = session.value("SELECT COALESCE(MAX(id), 0) FROM node")
                session.insert_many(
                    "INSERT INTO node (cluster_id, kind, name, rocks_name, state, image_state) VALUES",
                    [(cluster, "compute", f"n{first}-{n}", f"n{first}-{n}", "nostate", "unmapped")
                     for n in range(size)],
                )  # fmt: skip
                rows = session.rows("SELECT id FROM node WHERE id > %s ORDER BY id", (first,))
                nodes = tuple(node for (node,) in rows)
                new = computesets.NewComputeset(cluster, nodes, "ann", ACCOUNT, None, 600, "ann")
                computesets.insert_computeset(session, new)


def _submit_batch(count: int) -> None:
    """Batch jobs of another user, a host each."""
    sbatch = (
        "sbatch", "--parsable", f"--uid={OTHERS}", "--partition=batch", "--nodes=1", "--exclusive",
        f"--account={ACCOUNT}", "--chdir=/", "--output=/dev/null", "--job-name={}", "--wrap=exec sleep 36000",
    )  # fmt: skip
    names = "\n".join(f"batch-{number}" for number in range(count))
    arguments = ("xargs", "--max-procs=2", "-I{}", *sbatch)
    run_checked(arguments, deadline_seconds=_SECONDS, standard_input=names.encode("ascii"))


def _check(site: Site) -> None:
    """The invariants of one moment. IncoherentError."""
    with site.pool.transaction() as session:
        rows = session.rows(
            "SELECT n.physical_host, s.name, n.name FROM node n JOIN computeset_node m ON m.node_id = n.id"
            " JOIN computeset s ON s.id = m.computeset_id WHERE n.state = 'active' AND m.active = 1"
        )
        on = session.value("SELECT COUNT(*) FROM node WHERE state = 'active'")
    if on != len(rows):
        raise IncoherentError(f"{on - len(rows)} machines are on in no computeset")
    jobs = [job for job in site.jobs() if job.state in ("RUNNING", "COMPLETING")]
    running = [job.name for job in jobs if job.state == "RUNNING" and job.user == USER]
    if len(running) != len(set(running)):
        raise IncoherentError("a computeset has two jobs that run")
    by_host = {(host, job.name) for job in jobs for host in job.hosts}
    others = {host for job in jobs if job.user != USER and job.state == "RUNNING" for host in job.hosts}
    for host, name, node in rows:
        if (host, name) not in by_host:
            raise IncoherentError(f"{node} is on on {host}, which its job {name} does not have")
        if host in others:
            raise IncoherentError(f"{node} is on on {host} beside a batch job")


def _measure(site: Site) -> list[Row]:
    """Rounds in which nothing changes, with all jobs in the queue."""
    took, programs = [], []
    for _ in range(ROUNDS):
        before, begin = site.batch.count, time.perf_counter()
        site.drive()
        took.append(time.perf_counter() - begin)
        programs.append(site.batch.count - before)
        time.sleep(0.5)
    jobs, sets = site.jobs(), site.sets(LIVING_SETS)
    running = [one for one in sets if one.state == RUNNING]
    how = (
        f"median of {ROUNDS}, longest {max(took):.2f} s; {len(jobs)} jobs in the queue, {len(sets)} of them computesets"
        f" of {sum(one.node_count for one in sets)} nodes, of which {len(running)} run, on"
        f" {sum(one.node_count for one in running)} of {len(site.batch.nodes())} hosts"
    )
    what = f"a round of the controller with {len(jobs)} jobs"
    return [
        at_most("R27", what, typical(took), 0.3, "s", how),
        at_most(
            "R27", "programs of Slurm that it starts", typical(programs), 2, "", f"at most {max(programs)}"
        ),
    ]


def _live(site: Site, chance: random.Random) -> int:
    """Rounds until all sets have ended: in each, owners end some that run, and some batch jobs end. How many.

    In the end the sets that wait are ended, too, and their jobs with them.
    """
    for number in range(_MAX_ROUNDS):
        site.round()
        _check(site)
        living = site.sets(LIVING_SETS)
        if not living:
            return number + 1
        is_busy = number < _BUSY_ROUNDS
        ending = [one for one in living if one.state == RUNNING or not is_busy]
        batch = [
            str(job.id)
            for job in site.jobs()
            if job.user == OTHERS and (job.state == "RUNNING" or not is_busy)
        ]
        if is_busy:
            ending = chance.sample(ending, min(len(ending), _ENDED_AT_ONCE))
            batch = chance.sample(batch, min(len(batch), 2 * _ENDED_AT_ONCE))
        with site.pool.transaction() as session:
            for one in ending:
                computesets.request_end(session, one.id, "shutdown")
        if batch:
            _ask("scancel", *batch)
    raise IncoherentError(f"{len(site.sets(LIVING_SETS))} sets live after {_MAX_ROUNDS} rounds")


def _check_charges(site: Site) -> int:
    """Node seconds of all sets, once Nucleus has stored what the accounting has. IncoherentError."""
    sets = [one for one in site.sets() if one.name is not None]
    end = time.monotonic() + _SECONDS
    while any(one.charged_seconds is None for one in sets):
        if time.monotonic() > end:
            raise IncoherentError("not all computesets are charged")
        site.reconcile()
        sets = [one for one in site.sets() if one.name is not None]
    accounted = _accounted([one.name for one in sets if one.name])
    for one in sets:
        if one.charged_seconds != accounted[str(one.name)]:
            raise IncoherentError(
                f"{one.name} is charged {one.charged_seconds}, sacct has {accounted[str(one.name)]}"
            )
        if one.state != CANCELLED:
            raise IncoherentError(f"the computeset {one.id} is {one.state}: {one.end_reason}")
    return sum(accounted.values())


def _accounted(names: Collection[str]) -> dict[str, int]:
    found = dict.fromkeys(names, 0)
    arguments = ("--noheader", "-X", "-D", "-P", f"--user={USER}", "--starttime=now-1day")
    for line in _ask("sacct", *arguments, "--format=ElapsedRaw,AllocNodes,JobName").splitlines():
        seconds, nodes, name = line.split("|")
        if name in found:
            found[name] += int(seconds) * int(nodes)
    return found


def main() -> None:
    """Print the rows."""
    os.environ["SLURM_TIME_FORMAT"] = "%s"
    site, chance = Site(), random.Random(0)  # noqa: S311 - no secret
    hosts = len(site.batch.nodes())
    share = hosts / 1000
    largest = int(LARGEST * share) or 1
    sizes = [round(largest ** chance.random()) for _ in range(SETS - 1)] + [largest]
    _submit_batch(round(_BATCH_BEFORE * share))
    _add_sets(site, sizes)
    site.round()
    _submit_batch(round(_BATCH_AFTER * share))
    for _ in range(ROUNDS):
        site.round()
        time.sleep(0.5)
    _check(site)
    rows = _measure(site)
    begin = time.monotonic()
    count = _live(site, chance)
    took = time.monotonic() - begin
    charged = _check_charges(site)
    how = (
        f"seed 0; in each of {count} rounds every machine had its job, no set two, and no host a batch job besides;"
        f" Nucleus and sacct charge the same for each set, together {charged} s of nodes"
    )
    what = f"{SETS} sets of 1 to {largest} nodes among batch jobs, until all have ended"
    rows.append(without_goal("R27", what, f"{took:.0f} s", how))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
