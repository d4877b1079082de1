"""Computesets as jobs of a real Slurm whose controller is away, hangs, or has forgotten jobs, or has no sbatch."""

import os
import shutil
from pathlib import Path

import pytest

from nucleus.cli.main import main
from nucleus.mirror import status
from nucleus.mirror.observations import database_now
from nucleus.mirror.pool import Pool
from nucleus.states import SCHEDULER_AWAY, TOO_FEW_HOSTS
from owners.computesets.alarms import check_kind
from rocks.core.errors import StateError
from tests.slurm_site import HOSTS, PARTITION, SlurmSite
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.slurm_rounds import Rounds, accounted, charges
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_an_owners_end_acts_while_the_controller_is_away(
    rounds: Rounds, slurm: SlurmSite, pool: Pool
) -> None:
    number = rounds.start(0, 2)
    rounds.until(number, "running")
    rounds.turn()
    assert len(rounds.nodes_on()) == 2
    with (
        pool.transaction() as session,
        pytest.raises(StateError, match=rf'\({number}\) got their jobs with kind = "slurm"'),
    ):
        check_kind(session, "hosts")
    slurm.signal("slurmctld", "KILL")
    try:
        rounds.end(number)
        rounds.until(number, "ending", "user")
        assert rounds.nodes_on() == []
        rounds.turn()
        assert rounds.look(number).state == "ending", "whether the job has ended is not known"
        with pool.transaction() as session:
            check_kind(session, "hosts")  # for a Slurm that never answers again
    finally:
        slurm.start_controller()
    rounds.turn()
    rounds.hands.ahead_seconds += 61  # it may have forgotten a job that had just begun
    rounds.until(number, "cancelled", "user")


def test_a_controller_that_forgets_a_job_and_gives_its_number_to_another(
    rounds: Rounds, slurm: SlurmSite
) -> None:
    slurm.occupy(len(HOSTS))
    first = rounds.start(0, 1)
    rounds.controller.round()
    slurm.signal("slurmctld", "KILL")
    slurm.start_controller()
    forgotten = rounds.look(first)
    second = rounds.start(1, 1)
    one = rounds.until(second, "submitted")
    if one.jobid != forgotten.jobid:
        pytest.skip("the controller had stored the job before it was killed")
    rounds.turn()
    assert rounds.look(first).state == "submitted"
    rounds.hands.ahead_seconds += 61
    wait_until(
        lambda: (rounds.turn(), rounds.look(first).jobid not in (None, one.jobid))[1], "submitted again"
    )
    assert rounds.look(first).name == forgotten.name
    slurm.ask("scancel", "-u", "root")
    for number in (first, second):
        rounds.until(number, "running")
        rounds.end(number)
        rounds.until(number, "cancelled", "user")


@pytest.mark.usefixtures("environment")
def test_a_running_job_that_the_controller_has_forgotten_is_not_charged_for_ever(
    rounds: Rounds, slurm: SlurmSite, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.occupy(1)  # of a state without jobs slurmctld says so, and the accounting ends all that run
    slurm.signal("slurmctld", "TERM")
    shutil.copytree(slurm.folder / "state", slurm.folder / "state.before")
    slurm.start_controller()
    number = rounds.start(0, 1)
    name = rounds.until(number, "running").name
    wait_until(lambda: accounted(slurm, name, "State") == [["RUNNING"]])
    slurm.signal("slurmctld", "KILL")
    shutil.rmtree(slurm.folder / "state")
    (slurm.folder / "state.before").rename(slurm.folder / "state")
    slurm.start_controller()
    rounds.turn()
    rounds.hands.ahead_seconds += 61
    rounds.until(number, "failed", "lost")
    rounds.reconcile()
    before = rounds.look(number).charged_so_far_seconds
    wait_until(lambda: charges(slurm, name)[0] > (before or 0) + 1)
    rounds.reconcile()
    one = rounds.look(number)
    assert (one.charged_seconds, one.charged_so_far_seconds) == (None, before)
    sql(pool, "UPDATE computeset SET ended_at = ended_at - INTERVAL 2 HOUR, charged_so_far_seconds = 1")
    kind = "computeset-without-charge"
    begun = (None, kind)
    assert rounds.alarms(str(number), kind) == ([begun], 1)
    main(["status"])
    assert f"no end of the computesets {number}: sacctmgr show runawayjobs" in capsys.readouterr().out
    slurm.ask("sacctmgr", "--immediate", "show", "runawayjobs")
    rounds.reconcile()
    assert rounds.look(number).charged_seconds == sum(charges(slurm, name))
    assert rounds.alarms(str(number), kind) == ([begun, (kind, None)], 0)


@pytest.mark.usefixtures("environment")
def test_while_slurm_does_not_answer_owners_and_operators_read_so(
    rounds: Rounds,
    slurm: SlurmSite,
    pool: Pool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at once: a restart takes seconds. The site is fresh all the same, and requests are answered."""
    monkeypatch.setenv("NUCLEUS_BATCH_KIND", "slurm")
    monkeypatch.setenv("NUCLEUS_BATCH_PARTITION", PARTITION)
    slurm.occupy(len(HOSTS))
    number = rounds.start(0, 1)
    rounds.until(number, "submitted")
    wait_until(lambda: (rounds.turn(), rounds.look(number).waiting == TOO_FEW_HOSTS)[1])
    alarm = "alarm: Slurm does not answer; computesets that run go on, no other begins"
    slurm.signal("slurmctld", "TERM")
    try:
        rounds.turn()
        assert rounds.look(number).waiting == TOO_FEW_HOSTS
        rounds.hands.ahead_seconds += 21
        rounds.turn()
        one = rounds.look(number)
        assert (one.state, one.waiting, one.place, one.estimated_start) == (
            "submitted",
            SCHEDULER_AWAY,
            None,
            None,
        )
        assert main(["status"]) == 1 and alarm in capsys.readouterr().out
        with pool.transaction() as session:
            assert status.gauges(session, database_now(session))["poll_failures"]["scheduler",] > 0
    finally:
        slurm.start_controller()
    wait_until(
        lambda: (rounds.turn(), rounds.look(number).waiting == TOO_FEW_HOSTS)[1],
        lambda: str(rounds.look(number)),
    )
    main(["status"])
    assert alarm not in capsys.readouterr().out


def test_a_controller_that_hangs_during_a_submission_gets_one_job(rounds: Rounds, slurm: SlurmSite) -> None:
    number = rounds.start(0, 1)
    slurm.signal("slurmctld", "STOP")
    try:
        rounds.turn()
        assert rounds.look(number).state == "created"
    finally:
        slurm.signal("slurmctld", "CONT")
    one = rounds.until(number, "running")
    rounds.turn()
    assert slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%T") == "RUNNING"
    rounds.end(number)
    rounds.until(number, "cancelled", "user")


_AWAY = "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1\n"


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sbatch that fails, before the real one."""
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\n{_AWAY}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return program


def test_while_submissions_fail_jobs_are_looked_at_and_what_is_taken_back_ends(
    rounds: Rounds, slurm: SlurmSite, failing: Path
) -> None:
    failing.rename(failing.with_suffix(".away"))
    running = rounds.until(rounds.start(0, 1), "running")
    failing.with_suffix(".away").rename(failing)
    taken_back, stays = rounds.start(1, 1), rounds.start(2, 1)
    rounds.turn()
    rounds.end(taken_back)
    slurm.ask("scancel", str(running.jobid))
    rounds.until(running.id, "failed", "operator")
    rounds.turn()
    assert rounds.look(taken_back).state == "created", "an answer that was lost may have left a job"
    rounds.hands.ahead_seconds += 61
    one = rounds.until(taken_back, "cancelled", "user")
    assert rounds.look(stays).state == "created"
    failing.unlink()
    rounds.until(stays, "running")
    assert one.name and accounted(slurm, one.name, "State") == [], "it was never submitted"


def test_a_job_whose_submission_was_reported_as_failed_is_ended_with_its_set(
    rounds: Rounds, slurm: SlurmSite, failing: Path
) -> None:
    slurm.occupy(len(HOSTS))
    failing.write_text(f'#!/bin/sh\n{slurm.bin}/sbatch "$@" >/dev/null\n{_AWAY}')
    number = rounds.start(0, 1)
    rounds.turn()
    one = rounds.look(number)
    assert slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%T") == "PENDING"
    rounds.end(number)
    rounds.until(number, "cancelled", "user")
    assert slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%T") == ""
    wait_until(lambda: accounted(slurm, one.name, "State"), "its end in the accounting")
    assert len(accounted(slurm, one.name, "State")) == 1, "it was submitted once"
