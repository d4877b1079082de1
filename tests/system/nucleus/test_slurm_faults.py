"""Computesets in a real Slurm: what kills Nucleus, a script or a hook, what operators do, an image that comes late."""

from typing import Any

import pytest

from nucleus.configuration import BatchSettings, Configuration
from nucleus.mirror.pool import Guard, Pool
from owners.computesets.controller import ComputesetController
from owners.computesets.records import host_of
from owners.computesets.slurm import Slurm
from rocks.core.process import Finished, run
from tests.slurm_site import HOSTS, PARTITION, USER, SlurmSite
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.slurm_rounds import Rounds, accounted, charges, kill_script
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "sacct")


class Killed(BaseException):
    """The end of a process."""


class MortalSlurm(Slurm):
    """Kills its process where it starts a program, or when that has ended; once."""

    dies_at: tuple[str, bool] | None = None

    def run(self, program: str, *arguments: str, standard_input: bytes = b"") -> Finished:
        if self.dies_at == (program, True):
            self.die()
        finished = super().run(program, *arguments, standard_input=standard_input)
        if self.dies_at == (program, False):
            self.die()
        return finished

    def die(self) -> None:
        """What the process knew is lost."""
        self.dies_at = None
        raise Killed


class Process(ComputesetController):
    """A controller in whose place another one begins when it is killed."""

    def __init__(self, guard: Guard, batch: MortalSlurm, rounds: Rounds) -> None:
        self._given = Configuration(), guard, batch, rounds.hands.clock
        super().__init__(*self._given)

    def round(self) -> float | None:
        try:
            return super().round()
        except Killed:
            ComputesetController.__init__(self, *self._given)
            return None


@pytest.mark.parametrize("is_before", [True, False])
def test_a_controller_that_is_killed_at_any_step_has_one_job_and_no_machine_twice(
    rounds: Rounds, slurm: SlurmSite, guard: Guard, is_before: bool
) -> None:
    batch = MortalSlurm(BatchSettings("slurm", PARTITION, USER), command_seconds=5.0)
    rounds.controller = Process(guard, batch, rounds)
    for program in PROGRAMS:
        batch.dies_at = program, is_before
        number = rounds.start(0, 2)
        name = rounds.until(number, "running").name
        wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 2)[1], "both nodes are on")
        rounds.end(number)
        rounds.until(number, "cancelled", "user")
        _is_charged(rounds, slurm, number)
        assert batch.dies_at is None, f"{program} was not called"
        assert rounds.nodes_on() == [] and rounds.doubles == []
        assert accounted(slurm, name, "State") == [["COMPLETED"]], "one job"


def _is_charged(rounds: Rounds, slurm: SlurmSite, number: int) -> None:
    """In the end, what the accounting has."""
    wait_until(lambda: (rounds.reconcile(), rounds.look(number).charged_seconds is not None)[1], "no charge")
    one = rounds.look(number)
    assert one.charged_seconds == sum(charges(slurm, one.name))


def test_a_set_whose_script_is_killed_ends_and_is_started_nowhere_else(
    rounds: Rounds, slurm: SlurmSite
) -> None:
    number = rounds.start(0, 2)
    one = rounds.until(number, "running")
    wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 2)[1], "both nodes are on")
    wait_until(
        lambda: (kill_script(slurm, one.jobid), rounds.turn(), rounds.look(number).state != "running")[2]
    )
    rounds.until(number, "failed", "lost")
    assert rounds.nodes_on() == [] and rounds.doubles == []
    _is_charged(rounds, slurm, number)
    assert accounted(slurm, one.name, "State") == [["FAILED"]]


def test_a_set_waits_while_a_host_refuses_its_job(rounds: Rounds, slurm: SlurmSite) -> None:
    with slurm.checked_hosts():
        slurm.set_machine(HOSTS[0], "vm-other-0")
        number = rounds.start(0, len(HOSTS))
        one = rounds.until(number, "submitted")

        def is_refused() -> bool:
            """By the prolog, which requeues the job, or by the health check before it has hosts."""
            rounds.turn()
            state = slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%T")
            return state == "PENDING" and HOSTS[0] in slurm.drained()

        wait_until(is_refused)
        rounds.turn()
        waiting = rounds.look(number)
        assert waiting.state == "submitted" and waiting.waiting and rounds.nodes_on() == []
        slurm.set_machine(HOSTS[0], None)
        rounds.until(number, "running")
        assert rounds.look(number).name == one.name
        rounds.end(number)
        rounds.until(number, "cancelled", "user")
    _is_charged(rounds, slurm, number)


def test_what_operators_do_to_the_job_and_the_hosts_of_a_set(
    rounds: Rounds, slurm: SlurmSite, request: pytest.FixtureRequest
) -> None:
    def change(host: str, state: str) -> None:
        slurm.ask("scontrol", "update", f"nodename={host}", f"state={state}", "reason=test")

    occupied = slurm.occupy(len(HOSTS))
    number = rounds.start(0, 3)
    one = rounds.until(number, "submitted")
    slurm.ask("scontrol", "hold", str(one.jobid))
    held = "the site's operators hold it"
    wait_until(lambda: (rounds.turn(), rounds.look(number).waiting == held)[1], "the job is held")
    slurm.ask("scancel", occupied)
    slurm.ask("scontrol", "release", str(one.jobid))
    one = rounds.until(number, "running")
    wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 3)[1], "all nodes are on")

    requeue = run((str(slurm.root_bin / "scontrol"), "requeue", str(one.jobid)), deadline_seconds=60)
    assert requeue.exit_status != 0, "its machines run"
    holder = slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%B")
    hosts = slurm.ask("scontrol", "show", "hostnames", str(one.nodelist)).split()
    lost, free = next(host for host in hosts if host != holder), next(h for h in HOSTS if h not in hosts)
    request.addfinalizer(lambda: change(f"{holder},{lost}", "resume"))
    change(holder, "drain")
    slurm.ask(
        "scontrol", "create", "reservation", "reservationname=work", "starttime=now", "duration=60",
        "users=root", f"nodes={','.join(HOSTS)}", "flags=ignore_jobs",
    )  # fmt: skip
    second = rounds.start(3, 1)
    unavailable = ("hosts that it needs are not available", "not enough hosts are free")
    wait_until(lambda: (rounds.turn(), rounds.look(second).waiting in unavailable)[1])
    assert rounds.look(number).state == "running" and len(rounds.nodes_on()) == 3
    slurm.ask("scontrol", "delete", "reservation=work")
    assert rounds.until(second, "running").nodelist == free

    change(lost, "down")
    wait_until(lambda: (rounds.turn(), rounds.look(number).degraded)[1], "a host is taken away")
    assert rounds.look(number).state == "running" and len(rounds.nodes_on()) == 4
    assert rounds.alarms("", "vm-on-without-job")[1] == 1, "its machine is still on"
    left = {host_of(rounds.look(number), node) for node in one.node_ids}
    assert left == {*hosts, None} - {lost}, "nothing of the set is started there"
    for each in (number, second):
        rounds.end(each)
        rounds.until(each, "cancelled", "user")
        _is_charged(rounds, slurm, each)
    assert rounds.nodes_on() == []


def test_a_set_whose_image_is_not_written_back_in_time_keeps_its_hosts(
    rounds: Rounds, slurm: SlurmSite, pool: Pool
) -> None:
    number, kind = rounds.start(0, 1), "image-sync-timeout"
    name = rounds.until(number, "running").name
    wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 1)[1], "the node is on")
    rounds.end(number)
    rounds.controller.round()
    off: tuple[Any, ...] = (
        "UPDATE node SET state = 'nostate', image_state = 'NAS<-VM' WHERE state = 'active'",
        "UPDATE operation SET state = 'succeeded', ended = UTC_TIMESTAMP(3) WHERE state = 'queued'",
    )
    for statement in off:
        sql(pool, statement)
    rounds.turn()
    assert rounds.look(number).state == "ending"
    rounds.hands.ahead_seconds += Configuration().computesets.image_seconds
    assert rounds.alarms(str(number), kind) == ([(None, kind)], 1)
    assert slurm.ask("squeue", "-h", f"--name={name}", "-o", "%T") == "RUNNING", "it holds the host"
    sql(pool, "UPDATE node SET image_state = 'unmapped'")
    rounds.until(number, "cancelled", "user")
    assert rounds.alarms(str(number), kind)[1] == 0


def test_a_job_that_a_killed_slurmctld_ends_again_is_charged_by_its_last_end(
    rounds: Rounds, slurm: SlurmSite
) -> None:
    """What it stored last may be older than the end, which the accounting knows: for it the job runs."""
    number = rounds.start(0, 1)
    one = rounds.until(number, "running")
    slurm.ask("scancel", str(one.jobid))
    rounds.until(number, "failed", "operator")

    def is_charged() -> bool:
        rounds.reconcile()
        return rounds.look(number).charged_seconds == sum(charges(slurm, one.name))

    wait_until(is_charged)
    slurm.signal("slurmctld", "KILL")
    slurm.start_controller()
    wait_until(lambda: slurm.ask("squeue", "-h", "-t", "RUNNING", f"--name={one.name}") == "")
    wait_until(is_charged, lambda: str(accounted(slurm, one.name, "State", "End", "ElapsedRaw")))
