"""The controller of computesets on a real Slurm, round by round; nodes do at once what they are asked to."""

from lab.slurm.nodes import obey
from nucleus.configuration import BatchSettings, Configuration
from nucleus.mirror import events, identity, status
from nucleus.mirror.observations import database_now
from nucleus.mirror.pool import Guard, Pool
from nucleus.operations.timers import Clock
from nucleus.records import SYSTEM
from owners.computesets import records as computesets
from owners.computesets.batch import Batch
from owners.computesets.controller import ComputesetController
from owners.computesets.records import Computeset
from rocks.core.process import run
from tests.slurm_site import ACCOUNT, PARTITION, USER, SlurmSite
from tests.system.nucleus.conftest import compute_numbers, sql
from tests.waiting import wait_until


class Hands:
    """The hands of a clock, which a test puts forward; `step_seconds`: the time of day alone was set."""

    def __init__(self) -> None:
        self.ahead_seconds = self.step_seconds = 0.0

    @property
    def clock(self) -> Clock:
        real = Clock()
        return Clock(
            lambda: real.now() + self.ahead_seconds + self.step_seconds,
            lambda: real.since_boot() + self.ahead_seconds,
            lambda: "first",
        )


def accounted(slurm: SlurmSite, name: str | None, *columns: str) -> list[list[str]]:
    """The columns of each row that the accounting has of the jobs of this name, or these names, since yesterday."""
    asked = ("sacct", "--noheader", "-X", "-D", "-P", f"--name={name}", "-S", "now-1day")
    return [line.split("|") for line in slurm.ask(*asked, "-o", ",".join(columns)).splitlines()]


def charges(slurm: SlurmSite, name: str | None) -> list[int]:
    """Node seconds of each row."""
    return [
        int(seconds) * int(nodes) for seconds, nodes in accounted(slurm, name, "ElapsedRaw", "AllocNodes")
    ]


def kill_script(slurm: SlurmSite, job: int | None) -> None:
    """Kill the script of a job, if its host has started it; where it may not have, do so until the job has failed."""
    run((str(slurm.root_bin / "scancel"), "--batch", "--signal=KILL", str(job)), deadline_seconds=60)


class Rounds:
    """Sets of one cluster."""

    def __init__(self, pool: Pool, guard: Guard, batch: Batch, cluster_number: int) -> None:
        self.hands = Hands()
        self.controller = ComputesetController(
            Configuration(batch=BatchSettings("slurm", PARTITION, USER)), guard, batch, self.hands.clock
        )
        self._pool, self._cluster = pool, cluster_number
        self.doubles: list[tuple[str, str, str]] = []
        """(node, its host, another host) of starts of a node that was on elsewhere."""

    def start(
        self,
        first: int,
        count: int,
        account: str = ACCOUNT,
        minutes: int = 60,
        reservation: str | None = None,
    ) -> int:
        """A set of so many nodes; its number."""
        with self._pool.transaction() as session:
            nodes = compute_numbers(session, self._cluster)[first : first + count]
            new = computesets.NewComputeset(self._cluster, nodes, "ann", account, reservation, minutes, "ann")
            return computesets.insert_computeset(session, new)

    def end(self, number: int) -> None:
        """Ask for its end as its owner does."""
        with self._pool.transaction() as session:
            assert computesets.request_end(session, number, "shutdown")

    def look(self, number: int) -> Computeset:
        """The set as it is now."""
        with self._pool.transaction() as session:
            found = computesets.find_computeset(session, SYSTEM, number)
        assert found is not None
        return found

    def warnings(self) -> list[str]:
        """The sets of which an end was announced, in that order."""
        return [
            target
            for (target,) in sql(self._pool, "SELECT target FROM event WHERE type = 'set.ends' ORDER BY id")
        ]

    def nodes_on(self) -> list[str]:
        """Hosts of the nodes that are on, by node."""
        rows = sql(self._pool, "SELECT physical_host FROM node WHERE state = 'active' ORDER BY name")
        return [host for (host,) in rows]

    def turn(self) -> None:
        """A round of the controller, and what follows from it at the nodes."""
        self.controller.round()
        self.doubles += sql(
            self._pool,
            "SELECT n.name, n.physical_host, JSON_VALUE(o.arguments, '$.host') AS other FROM operation o"
            " JOIN node n ON n.id = o.target_node WHERE o.kind = 'start_member' AND o.state = 'queued'"
            " AND n.state = 'active' HAVING other <> physical_host",
        )
        obey(self._pool)

    def permit(self, account: str) -> int:
        """Let the cluster charge an account; the number of its project."""
        with self._pool.transaction() as session:
            identity.add_allocation(session, account)
            assert identity.set_allocation(session, self._cluster, account, True)
        return int(sql(self._pool, "SELECT project_id FROM cluster WHERE id = %s", (self._cluster,))[0][0])

    def reconcile(self) -> None:
        """A round that looks at all nodes and charges, too; the time is the same: no walltime ends, however often."""
        self.controller._checked = None  # noqa: SLF001
        self.turn()

    def alarms(self, target: str, kind: str) -> tuple[list[tuple[str | None, str | None]], float]:
        """After a further look at the site: what has begun and ended at the target, and the metric of this kind."""
        self.reconcile()
        with self._pool.transaction() as session:
            found = events.events_after(session, SYSTEM, 0, types=["alarm"])
            count = status.gauges(session, database_now(session))["alarms"][kind,]
        return [(one.old, one.new) for one in found if one.target == target], count

    def until(self, number: int, state: str, reason: str | None = None) -> Computeset:
        """Rounds until the set has the state."""

        def is_there() -> bool:
            self.turn()
            return self.look(number).state == state

        wait_until(is_there, lambda: str(self.look(number)))
        found = self.look(number)
        assert found.end_reason == reason
        return found
