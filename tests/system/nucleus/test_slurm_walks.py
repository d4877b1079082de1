"""Random walks of computesets in a real Slurm: what operators, schedulers and failures do to them, in any order.

After each step every machine that is on has a job, or there is an alarm of it; no machine is started twice, no set has
two jobs that run, and every job has a living set. In the end all sets end, and are charged what the accounting has.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event

import pytest

from lab.simulator import Simulator
from nucleus.backends.rocks import Rocks
from nucleus.configuration import BatchSettings, WorkSettings
from nucleus.hostlists import expand
from nucleus.mirror import operations
from nucleus.mirror.pool import Pool
from nucleus.operations.causes import RefusedError
from nucleus.operations.job import Job, Tools
from nucleus.records import JsonObject, NewOperation
from nucleus.states import LIVING_SETS
from owners.computesets import records as computesets
from owners.computesets import work
from owners.computesets.records import Computeset
from rocks.core.errors import HostError
from rocks.core.process import run
from tests.generated import PROFILE
from tests.slurm_site import ACCOUNT, PARTITION, USER, SlurmSite
from tests.system.nucleus.conftest import compute_numbers, sql
from tests.system.nucleus.slurm_rounds import Rounds, accounted, charges
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.moments,
    pytest.mark.skipif(PROFILE != "random", reason="it needs a quiet machine: `make test-random` runs it"),
]

STEPS = 14


class Walk:
    """Its steps are named like what happens. `counts` has how often what owners ask for was done, or refused."""

    def __init__(self, rounds: Rounds, slurm: SlurmSite, pool: Pool, cluster: int, seed: int) -> None:
        self.rounds, self.slurm, self._pool, self._cluster = rounds, slurm, pool, cluster
        self.chance = random.Random(seed)
        self.taken: list[str] = []
        self.counts = Counter[str]()

    def sets(self, *states: str) -> list[Computeset]:
        with self._pool.transaction() as session:
            numbers = session.column("SELECT id FROM computeset")
            found = computesets.computesets_by_number(session, numbers) if numbers else []
        return [one for one in found if not states or one.state in states]

    def try_to(self, program: str, *arguments: str) -> None:
        """What Slurm may refuse."""
        run((str(self.slurm.root_bin / program), *arguments), deadline_seconds=60)

    def start(self) -> None:
        with self._pool.transaction() as session:
            nodes = compute_numbers(session, self._cluster)
        busy = {number for one in self.sets(*LIVING_SETS) for number in one.node_ids}
        free = [place for place, node in enumerate(nodes) if node not in busy]
        if free:
            first = self.chance.choice(free)
            self.rounds.start(first, 2 if first + 1 in free and self.chance.random() < 0.5 else 1)

    def end(self) -> None:
        for one in self._one(*LIVING_SETS):
            self.rounds.end(one.id)

    def cancel_by_operator(self) -> None:
        for one in self._one("submitted", "running"):
            self.try_to("scancel", f"--name={one.name}")

    def requeue(self) -> None:
        for one in self._one("submitted", "running"):
            self.try_to("scontrol", "requeue", str(one.jobid))

    def extend_by_operator(self) -> None:
        for one in self._one("submitted", "running"):
            self.try_to("scontrol", "update", f"job={one.jobid}", "TimeLimit=120")

    def extend(self) -> None:
        """As the owners of a set do, with all of its parts; it is refused where the user is no operator of Slurm."""
        for one in self._one("submitted", "running"):
            with self._pool.transaction() as session:
                (whole,) = computesets.computesets_by_number(session, [one.merged_into or one.id])
                parts = [whole, *computesets.parts_of(session, [whole.id]).get(whole.id, ())]
                minutes = max(it.walltime_minutes for it in parts) + 30
                of_parts = {
                    str(it): each for it, each in computesets.minutes_of_parts(parts, minutes).items()
                }
                asked: JsonObject = {"minutes": minutes, "parts": of_parts}
                new = NewOperation("extend_set", "ann", self._cluster, target_set=whole.id, arguments=asked)
                operation = operations.insert_operation(session, new)
                session.update("operation", {"state": "running"}, id=operation.id)
            batch, rocks = BatchSettings("slurm", PARTITION, USER), Rocks(Simulator(0), 1)
            try:
                work.extend(Job(Tools(self._pool, rocks, WorkSettings(), Event(), batch), operation))
                self.counts["extended"] += 1
            except (RefusedError, HostError):  # the latter: it would be tried again
                self.counts["not extended"] += 1
            with self._pool.transaction() as session:
                session.update("operation", {"state": "succeeded"}, id=operation.id)

    def merge(self) -> None:
        found = self.sets("running")
        if len(found) > 1:
            first, second = (it.merged_into or it.id for it in self.chance.sample(found, 2))
            if first != second:
                with self._pool.transaction() as session:
                    computesets.merge(session, first, second)
                self.counts["merged"] += 1

    def drain(self) -> None:
        self._change_host("state=drain")

    def take_down(self) -> None:
        self._change_host("state=down")

    def resume(self) -> None:
        for host in self.slurm.hosts:
            self.try_to("scontrol", "update", f"nodename={host}", "state=resume")

    def reserve(self) -> None:
        host, name = self.chance.choice(self.slurm.hosts), f"r{len(self.taken)}"
        self.taken.append(name)
        self.try_to(
            "scontrol", "create", "reservation", f"reservationname={name}", "starttime=now", "duration=60",
            "users=root", f"nodes={host}", "flags=ignore_jobs",
        )  # fmt: skip

    def preempt(self) -> None:
        host = self.chance.choice(self.slurm.hosts)
        self.try_to(
            "sbatch", "-p", "urgent", f"--nodelist={host}", "--exclusive", "-A", ACCOUNT, "-D", "/", "-o", "/dev/null",
            "--wrap", "exec sleep 3",
        )  # fmt: skip

    def kill_controller(self) -> None:
        self.slurm.signal("slurmctld", "KILL")
        self.rounds.turn()
        self.slurm.start_controller()

    def lose_accounting(self) -> None:
        self.slurm.signal("slurmdbd", "KILL")
        for _ in range(3):
            self.rounds.turn()
        self.slurm.start_database()

    def step_clock(self) -> None:
        self.rounds.hands.step_seconds += self.chance.choice((-86400.0, -60.0, 60.0, 86400.0))

    def repair(self) -> None:
        for name in self.taken:
            self.try_to("scontrol", "delete", f"reservation={name}")
        self.resume()

    def _one(self, *states: str) -> list[Computeset]:
        """One of them, if there are any."""
        found = self.sets(*states)
        return [self.chance.choice(found)] if found else []

    def _change_host(self, how: str) -> None:
        self.try_to(
            "scontrol", "update", f"nodename={self.chance.choice(self.slurm.hosts)}", how, "reason=walk"
        )

    def is_consistent(self) -> bool:
        """Whether it is so after a round; AssertionError where it never may be otherwise."""
        self.rounds.turn()
        assert self.rounds.doubles == []
        lines = self.slurm.ask("squeue", "-h", "-o", "%j|%T|%N", "--user=nobody").splitlines()
        jobs = [line.split("|") for line in lines]
        running = [(name, expand(hosts)) for name, state, hosts in jobs if state == "RUNNING"]
        assert len({name for name, _ in running}) == len(running), jobs
        living = {one.name: one for one in self.sets(*LIVING_SETS)}
        with_jobs = {(name, host) for name, hosts in running for host in hosts}
        rows = sql(
            self._pool,
            "SELECT s.name, n.physical_host, n.id FROM node n"
            " JOIN computeset_node m ON m.node_id = n.id AND m.active = 1"
            " JOIN computeset s ON s.id = m.computeset_id WHERE n.state = 'active'",
        )
        with self._pool.transaction() as session:
            alarmed = {node.id for node in computesets.nodes_without_job(session)}
        return (
            len(self.rounds.nodes_on()) == len(rows)
            and all((name, host) in with_jobs or node in alarmed for name, host, node in rows)
            and all(name in living for name, state, _ in jobs if state in ("RUNNING", "PENDING"))
        )


FAULTS: tuple[Callable[[Walk], None], ...] = (
    Walk.start, Walk.start, Walk.start, Walk.end, Walk.cancel_by_operator, Walk.requeue, Walk.extend, Walk.merge,
    Walk.extend_by_operator, Walk.drain, Walk.take_down, Walk.resume, Walk.reserve, Walk.preempt, Walk.kill_controller,
    Walk.lose_accounting, Walk.step_clock,
)  # fmt: skip


@contextmanager
def walking(rounds: Rounds, slurm: SlurmSite, pool: Pool, cluster: int, seed: int) -> Iterator[Walk]:
    walk = Walk(rounds, slurm, pool, cluster, seed)
    try:
        yield walk
    finally:
        walk.repair()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_machines_have_jobs_and_sets_end_and_are_charged(
    rounds: Rounds, slurm: SlurmSite, pool: Pool, cluster_number: int, seed: int
) -> None:
    done = list[str]()
    with walking(rounds, slurm, pool, cluster_number, seed) as walk:
        for _ in range(STEPS):
            fault = walk.chance.choice(FAULTS)
            done.append(fault.__name__)
            fault(walk)
            wait_until(walk.is_consistent, lambda: f"{done}: {walk.sets(*LIVING_SETS)}")
            time.sleep(walk.chance.random() / 2)
        end_all(walk, done)


def end_all(walk: Walk, done: list[str]) -> None:
    """All sets end, and are charged what the accounting has."""
    walk.repair()
    for one in walk.sets(*LIVING_SETS):
        walk.rounds.end(one.id)

    def have_ended() -> bool:
        walk.rounds.hands.ahead_seconds += 2  # a controller that was killed may have forgotten a job
        walk.rounds.turn()
        return not walk.sets(*LIVING_SETS)

    wait_until(have_ended, lambda: f"{done[-20:]}: {walk.sets(*LIVING_SETS)}")
    assert walk.rounds.nodes_on() == []
    _compare_charges(walk)


def _compare_charges(walk: Walk) -> None:
    """Of all sets that had hosts. Of a job that a killed controller forgot, the accounting has no row, or no end."""
    walk.slurm.ask("sacctmgr", "--immediate", "show", "runawayjobs")
    for one in [one for one in walk.sets() if one.start_time is not None]:
        if not charges(walk.slurm, one.name):
            continue
        wait_until(partial(_is_charged, walk, one), partial(_charges_text, walk, one))


def _is_charged(walk: Walk, one: Computeset) -> bool:
    """Whether it is charged what the accounting has, after another look at that."""
    walk.rounds.reconcile()
    return walk.rounds.look(one.id).charged_seconds == sum(charges(walk.slurm, one.name))


def _charges_text(walk: Walk, one: Computeset) -> str:
    rows = accounted(walk.slurm, one.name, "JobID", "State", "Start", "End", "ElapsedRaw", "AllocNodes")
    return f"{walk.rounds.look(one.id)}: {rows}"
