"""Three hundred computesets in one Slurm of sixteen hosts, which owners extend, merge and end while it has faults.

As tests/system/nucleus/test_slurm_walks.py, whose conditions hold here after each step, with many sets at once.
"""

from collections.abc import Iterator

import pytest

from nucleus.mirror.pool import Pool
from nucleus.states import LIVING_SETS
from rocks.database.settings import Settings
from tests.generated import PROFILE
from tests.slurm_site import USER, SlurmSite, slurm_site
from tests.system.nucleus.conftest import add_cluster
from tests.system.nucleus.slurm_rounds import Rounds
from tests.system.nucleus.test_slurm_walks import Walk, end_all, walking
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.moments,
    pytest.mark.skipif(PROFILE != "random", reason="it needs a quiet machine: `make test-random` runs it"),
]

SETS = 300
_HOSTS = tuple(f"vm-container-1-{number}" for number in range(16))
_COMPUTES = 24
"""More than there are hosts: some sets wait."""

OFTEN = (Walk.extend, Walk.extend, Walk.merge)
RARELY = (
    Walk.cancel_by_operator, Walk.requeue, Walk.extend_by_operator, Walk.drain, Walk.take_down, Walk.resume,
    Walk.resume, Walk.reserve, Walk.preempt, Walk.step_clock,
)  # fmt: skip
SELDOM = (Walk.kill_controller, Walk.lose_accounting)
"""These take as long as many others."""


@pytest.fixture(scope="module")
def slurm(mariadb: Settings) -> Iterator[SlurmSite]:
    """A Slurm of its own, in which the service may extend jobs."""
    assert mariadb.socket is not None
    with slurm_site(mariadb.socket, _HOSTS) as started:
        started.ask("sacctmgr", "-i", "-Q", "modify", "user", USER, "set", "AdminLevel=Operator")
        flags = ("show", "assoc_mgr", "flags=users")
        wait_until(lambda: "AdminLevel=Operator" in started.ask("scontrol", *flags))
        yield started


@pytest.fixture
def cluster_number(pool: Pool) -> int:
    with pool.transaction() as session:
        return add_cluster(session, "vc2", _COMPUTES, "alpha")


@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_sets_end_and_are_charged_whatever_happens(
    rounds: Rounds, slurm: SlurmSite, pool: Pool, cluster_number: int, seed: int
) -> None:
    done = list[str]()
    with walking(rounds, slurm, pool, cluster_number, seed) as walk:
        while len(walk.sets()) < SETS:
            chance = walk.chance
            faults = [Walk.start] * chance.randint(2, 6) + [Walk.end] * chance.randint(1, 3)
            faults += [chance.choice(OFTEN), chance.choice(OFTEN), chance.choice(RARELY)]
            faults += [chance.choice(SELDOM)] if chance.random() < 0.08 else []
            chance.shuffle(faults)
            for fault in faults:
                done.append(fault.__name__)
                fault(walk)
            wait_until(walk.is_consistent, lambda: f"{done[-20:]}: {walk.sets(*LIVING_SETS)}")
        end_all(walk, done)
        ends = {state: len(walk.sets(state)) for state in ("completed", "cancelled", "failed")}
        print(f"seed {seed}: {len(walk.sets())} sets, {len(done)} steps: {dict(walk.counts)}, {ends}")
        assert walk.counts["extended"] > 20 and walk.counts["merged"] > 10
