"""Computesets as jobs of a real Slurm: queue, run, walltime, ends, and a controller that fails."""

import time
from collections.abc import Sequence

import pytest

from nucleus.cli.main import main
from nucleus.configuration import BatchSettings
from nucleus.hostlists import expand
from nucleus.mirror import identity, usage
from nucleus.mirror.pool import Pool
from nucleus.states import HOSTS_AWAY
from owners.computesets import batch
from owners.computesets import records as computesets
from owners.computesets.slurm import Slurm
from rocks.core.errors import UserError
from tests.slurm_site import ACCOUNT, HOSTS, PARTITION, USER, SlurmSite
from tests.system.nucleus.slurm_rounds import Rounds, accounted, charges, kill_script
from tests.waiting import wait_until


def _accounting(slurm: SlurmSite, name: str | None) -> list[list[str]]:
    """[state, nodes] of each row of the name."""
    return accounted(slurm, name, "State", "AllocNodes")


@pytest.mark.slow
def test_a_set_waits_behind_a_batch_job_runs_is_extended_and_ends_at_its_walltime(
    rounds: Rounds, slurm: SlurmSite
) -> None:
    occupied = slurm.occupy(3)
    number = rounds.start(0, 2)
    rounds.turn()
    one = rounds.until(number, "submitted")
    last = rounds.start(2, 2)
    rounds.until(last, "submitted")
    rounds.turn()
    assert rounds.look(number).state == "submitted" and rounds.nodes_on() == []
    wait_until(lambda: (rounds.turn(), rounds.look(number).waiting == "not enough hosts are free")[1])
    waiting, behind = rounds.look(number), rounds.look(last)
    assert (waiting.place, waiting.walltime_end) == (1, None)
    assert behind.place == 2 and behind.waiting in ("others are before it", "not enough hosts are free")
    rounds.end(last)
    rounds.until(last, "cancelled", "user")
    slurm.ask("scancel", occupied)
    one = rounds.until(number, "running")
    wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 2)[1], "both nodes are on")
    job = slurm.ask("scontrol", "show", "job", str(one.jobid))
    assert "Requeue=0" in job and "Comment=vc2" in job and f"NodeList={one.nodelist}" in job
    before = rounds.look(number).walltime_end
    assert (one.waiting, one.place, one.estimated_start) == (None, None, None)
    slurm.ask("scontrol", "update", f"job={one.jobid}", "TimeLimit=120")
    rounds.turn()
    after = rounds.look(number).walltime_end
    assert before is not None and after is not None and (after - before).total_seconds() == 3600
    assert rounds.warnings() == []
    rounds.hands.ahead_seconds += 3700
    rounds.turn()
    assert rounds.look(number).state == "running", "an operator has extended it"
    assert rounds.warnings() == [str(number)]
    rounds.hands.ahead_seconds += 3600
    rounds.until(number, "completed", "walltime")
    assert rounds.nodes_on() == []
    wait_until(lambda: _accounting(slurm, one.name) == [["COMPLETED", "2"]])


def test_slurm_extends_a_set_within_the_limits_of_account_and_partition(
    rounds: Rounds, slurm: SlurmSite, request: pytest.FixtureRequest
) -> None:
    """Where the site has made the service's user an operator of Slurm; nobody else may extend a job."""

    def undone(*command: str) -> None:
        request.addfinalizer(lambda: slurm.ask(*command))

    system, number = Slurm(BatchSettings("slurm", PARTITION, USER)), rounds.start(0, 2)
    one = rounds.until(number, "running")
    with pytest.raises(UserError, match="lets only its operators do so"):
        system.extend(one, 120)
    user = ("sacctmgr", "--immediate", "--quiet", "modify", "user", USER, "set")
    undone(*user, "AdminLevel=None")
    slurm.ask(*user, "AdminLevel=Operator")
    wait_until(lambda: "AdminLevel=Operator" in slurm.ask("scontrol", "show", "assoc_mgr", "flags=users"))
    system.extend(one, 120)
    rounds.turn()
    after = rounds.look(number)
    assert one.start_time is not None and after.walltime_end is not None
    assert 7190 <= (after.walltime_end - one.start_time).total_seconds() <= 7210
    system.extend(one, 120)  # again, by a worker that was killed
    slurm.ask("scontrol", "update", f"job={one.jobid}", "TimeLimit=150")
    with pytest.raises(UserError, match="given it 150 minutes already"):
        system.extend(one, 140)
    service = ("ReservationName=service", "StartTime=now+160minutes", "Duration=60", "Users=root")
    slurm.ask("scontrol", "create", "reservation", *service, f"Nodes={one.nodelist}", "Flags=IGNORE_JOBS")
    with pytest.raises(UserError, match="reserved for others"):
        system.extend(one, 180)
    system.extend(one, 155)
    slurm.ask("scontrol", "delete", "ReservationName=service")
    undone("scontrol", "update", f"PartitionName={PARTITION}", "MaxTime=2-0")
    slurm.ask("scontrol", "update", f"PartitionName={PARTITION}", "MaxTime=03:00:00")
    with pytest.raises(UserError, match="permits 180 minutes at most"):
        system.extend(one, 181)
    account = ("sacctmgr", "--immediate", "--quiet", "modify", "account", ACCOUNT, "set")
    undone(*account, "GrpTRESMins=node=-1")
    slurm.ask(*account, "GrpTRESMins=node=350")
    wait_until(lambda: system.accounts([ACCOUNT])[ACCOUNT].limit_minutes == 350)
    with pytest.raises(UserError, match=rf"{ACCOUNT} has [0-9.]+ node hours left; this needs 0.83"):
        system.extend(one, 180)
    slurm.ask("scancel", str(one.jobid))
    rounds.until(number, "failed", "operator")
    with pytest.raises(UserError, match="its job has ended"):
        system.extend(one, 150)


@pytest.mark.slow
def test_slurm_says_when_a_set_would_start_and_has_no_job_of_it(rounds: Rounds, slurm: SlurmSite) -> None:
    system = Slurm(BatchSettings("slurm", PARTITION, USER))
    job = batch.NewJob("estimate", 2, 60, ACCOUNT)
    slurm.wait_until_idle()
    assert abs((system.forecast(job).starts_at or 0) - time.time()) < 60
    for wrong, text in (
        (job._replace(host_count=9), "fewer hosts"),
        (job._replace(minutes=10**6), "walltime is longer"),
        (job._replace(account="nobody"), "does not know this allocation"),
    ):
        with pytest.raises(UserError, match=text):
            system.forecast(wrong)
    rounds.until(rounds.start(0, 3, minutes=60), "running")
    assert 3500 < (system.forecast(job).starts_at or 0) - time.time() < 3700
    assert slurm.ask("squeue", "-h", "-o", "%j").count("\n") == 0, "the set alone"


@pytest.mark.slow
def test_merged_sets_are_jobs_of_their_own(rounds: Rounds, slurm: SlurmSite, pool: Pool) -> None:
    """Shown as one until the first of them ends; the other goes on with its job, and both charges are one sum."""
    numbers = rounds.start(0, 1), rounds.start(1, 2, minutes=120)
    for number in numbers:
        rounds.until(number, "running")
    wait_until(lambda: (rounds.turn(), len(rounds.nodes_on()) == 3)[1], "all nodes are on")

    def whole() -> computesets.Computeset:
        with pool.transaction() as session:
            return computesets.as_one(
                [rounds.look(numbers[0]), *computesets.parts_of(session, numbers[:1])[numbers[0]]]
            )

    with pool.transaction() as session:
        computesets.merge(session, *numbers)
    jobs = [rounds.look(number).jobid for number in numbers]
    one = whole()
    assert (one.state, one.node_count, one.merged) == ("running", 3, numbers[1:])
    assert one.walltime_end == rounds.look(numbers[0]).walltime_end, "the earliest end is its end"
    rounds.hands.ahead_seconds += 3700
    rounds.until(numbers[0], "completed", "walltime")
    assert whole().state == rounds.look(numbers[1]).state == "running" and len(rounds.nodes_on()) == 2
    assert rounds.look(numbers[1]).jobid == jobs[1] != jobs[0]
    wait_until(lambda: (rounds.reconcile(), whole().charged_so_far_seconds)[1])
    so_far = [(one.charged_seconds or one.charged_so_far_seconds or 0) for one in map(rounds.look, numbers)]
    assert whole().charged_so_far_seconds == sum(so_far) and whole().charged_seconds is None
    rounds.end(numbers[1])
    rounds.until(numbers[1], "cancelled", "user")
    wait_until(lambda: (rounds.reconcile(), whole().charged_seconds is not None)[1])
    names = [rounds.look(number).name for number in numbers]
    assert whole().charged_seconds == sum(sum(charges(slurm, name)) for name in names)


@pytest.mark.slow
def test_slurm_limits_an_account_and_charges_its_sets(
    rounds: Rounds, slurm: SlurmSite, pool: Pool, request: pytest.FixtureRequest
) -> None:
    account = ("--immediate", "--quiet", "modify", "account", ACCOUNT, "set")
    slurm.ask("sacctmgr", *account, "GrpTRESMins=node=90")
    request.addfinalizer(lambda: slurm.ask("sacctmgr", *account, "GrpTRESMins=node=-1"))
    project = rounds.permit(ACCOUNT)
    number = rounds.start(0, 2)
    reason = f"{ACCOUNT} has no node hours left for it"
    wait_until(lambda: (rounds.turn(), rounds.look(number).waiting == reason)[1])
    rounds.reconcile()
    with pool.transaction() as session:
        (used,) = usage.allocation_usage(session, [project])
    assert used[3] == 120 and used[4] is not None and used[4].limit_minutes == 90, (
        "two nodes for an hour wait"
    )
    slurm.ask("sacctmgr", *account, "GrpTRESMins=node=9000")
    name = rounds.until(number, "running").name

    def counted() -> bool:
        rounds.reconcile()
        with pool.transaction() as session:
            ((*_, reserved, account),) = usage.allocation_usage(session, [project])
        assert account is not None and account.limit_minutes == 9000
        assert reserved == account.running_minutes
        return reserved > 0

    wait_until(
        counted, lambda: slurm.ask("scontrol", "show", "assoc_mgr", f"accounts={ACCOUNT}", "flags=assoc")
    )
    wait_until(lambda: (rounds.reconcile(), rounds.look(number).charged_so_far_seconds)[1])
    so_far = rounds.look(number).charged_so_far_seconds
    assert so_far is not None and rounds.look(number).charged_seconds is None
    rounds.end(number)
    rounds.until(number, "cancelled", "user")
    wait_until(lambda: (rounds.reconcile(), rounds.look(number).charged_seconds is not None)[1])
    assert rounds.look(number).charged_seconds == sum(charges(slurm, name)) >= so_far > 0
    assert rounds.look(number).charged_so_far_seconds is None
    slurm.ask("sacctmgr", "--immediate", "--quiet", "modify", "account", "root", "set", "GrpTRESMins=node=60")
    request.addfinalizer(
        lambda: slurm.ask(
            "sacctmgr", "--immediate", "--quiet", "modify", "account", "root", "set", "GrpTRESMins=node=-1"
        )
    )

    def limiting() -> str | None:
        rounds.reconcile()
        with pool.transaction() as session:
            account = usage.allocation_usage(session, [project])[0][4]
        return account and account.limited_by

    wait_until(lambda: limiting() == "root", "the limit of the account above is found")


@pytest.mark.slow
def test_a_set_is_ended_by_its_owner_in_each_state(rounds: Rounds, slurm: SlurmSite) -> None:
    created = rounds.start(0, 1)
    rounds.end(created)
    assert rounds.until(created, "cancelled", "user").name is None, "it never was a job"
    running = rounds.start(0, 3)
    rounds.until(running, "running")
    waiting = rounds.start(3, 1)
    slurm.occupy(1)
    one = rounds.until(waiting, "submitted")
    rounds.end(waiting)
    rounds.until(waiting, "cancelled", "user")
    wait_until(lambda: [state for state, _ in _accounting(slurm, one.name)] == ["CANCELLED by 65534"])
    rounds.end(running)
    name = rounds.until(running, "cancelled", "user").name
    wait_until(lambda: _accounting(slurm, name) == [["COMPLETED", "3"]])


@pytest.mark.slow
def test_a_job_that_an_operator_cancels_ends_its_set_by_that_reason(rounds: Rounds, slurm: SlurmSite) -> None:
    number = rounds.start(0, 2)
    one = rounds.until(number, "running")
    slurm.ask("scancel", str(one.jobid))
    rounds.until(number, "failed", "operator")
    assert rounds.nodes_on() == []


def test_what_slurm_refuses_fails_in_words_for_owners(rounds: Rounds) -> None:
    unknown, long = rounds.start(0, 1, account="nobody-s"), rounds.start(1, 1, minutes=10_000)
    rounds.until(unknown, "failed", "this site's scheduler does not know this allocation")
    rounds.until(long, "failed", "the walltime is longer than this site's scheduler permits")


@pytest.mark.usefixtures("environment")
def test_the_check_finds_nothing_missing_in_our_own_configuration_and_names_what_is(
    pool: Pool, rounds: Rounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "BATCH_KIND": "slurm", "BATCH_PARTITION": PARTITION, "BATCH_USER": USER, "COMPUTESETS_GRACE_SECONDS": "120",
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(f"NUCLEUS_{key}".upper(), value)
    with pool.transaction() as session:
        identity.add_allocation(session, ACCOUNT)
    assert main(["check", "slurm"]) == 0, capsys.readouterr().out
    with pool.transaction() as session:
        identity.add_allocation(session, "gam1")
    monkeypatch.setenv("NUCLEUS_COMPUTESETS_GRACE_SECONDS", "7200")
    capsys.readouterr()
    assert main(["check", "slurm"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["OverTimeLimit", USER], lines
    monkeypatch.setenv("NUCLEUS_BATCH_PARTITION", "absent")
    assert main(["check", "slurm"]) == 1
    assert "the partition absent does not exist" in capsys.readouterr().out


@pytest.mark.usefixtures("environment")
def test_a_node_that_is_no_host_of_the_cluster_is_an_alarm_and_left_out(
    rounds: Rounds, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = "node-without-host"
    assert rounds.alarms(HOSTS[0], kind) == ([], 0), "rocks has listed no hosts yet"
    with pool.transaction() as session:
        batch.record_hosts(session, batch.LISTED, [*HOSTS[1:], "nas-0-0"])
    begun = (None, kind)
    assert rounds.alarms(HOSTS[0], kind) == ([begun], 1)
    assert main(["status"]) == 1
    assert f"no hosts of the cluster, and computesets leave them out: {HOSTS[0]};" in capsys.readouterr().out
    three = rounds.start(0, 3)
    nodelist = rounds.until(three, "running").nodelist
    assert nodelist is not None and set(expand(nodelist)) == set(HOSTS[1:])
    rounds.end(three)
    rounds.until(three, "cancelled", "user")
    rounds.until(rounds.start(0, 4), "failed", "this site has no such hosts for computesets")
    with pool.transaction() as session:
        batch.record_hosts(session, batch.LISTED, HOSTS)
    assert rounds.alarms(HOSTS[0], kind) == ([begun, (kind, None)], 0)


@pytest.mark.usefixtures("environment")
def test_nodes_without_jobs_are_an_alarm_while_a_set_waits_and_when_a_hook_drained_them(
    rounds: Rounds, slurm: SlurmSite, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = "node-unavailable"

    def change(nodes: Sequence[str], *state: str) -> None:
        slurm.ask("scontrol", "update", f"nodename={','.join(nodes)}", *state)

    change(HOSTS[:3], "state=drain", "reason=new memory")
    change(HOSTS[3:], "state=down", "reason=no power")
    try:
        assert rounds.alarms(HOSTS[0], kind) == ([], 0), "a planned service, for which nothing waits"
        number = rounds.start(0, 1)
        wait_until(
            lambda: (rounds.turn(), rounds.look(number).waiting == HOSTS_AWAY)[1],
            lambda: str(rounds.look(number)),
        )
        begun = (None, kind)
        assert rounds.alarms(HOSTS[0], kind) == ([begun], 4)
        assert main(["status"]) == 1
        nodes = "vm-container-1-[0-2] (new memory), vm-container-1-3 (no power)"
        assert f"alarm: Slurm gives no jobs to {nodes}: run `sinfo -R`" in capsys.readouterr().out
    finally:
        change(HOSTS, "state=resume")
    rounds.until(number, "running")
    assert rounds.alarms(HOSTS[0], kind) == ([begun, (kind, None)], 0)
    change([HOSTS[1]], "state=drain", "reason=vm-without-job")
    assert rounds.alarms(HOSTS[1], kind)[1] == 1, "by a hook, also when nothing waits"
    rounds.end(number)
    rounds.until(number, "cancelled", "user")


@pytest.mark.slow
def test_a_set_whose_job_ends_before_nucleus_saw_its_hosts_is_submitted_again(
    rounds: Rounds, slurm: SlurmSite
) -> None:
    """As a job ends that hosts refuse, `Job credential revoked`; they do so for a second only: its script is killed."""
    (saved, unlucky), ended = (rounds.start(0, 1), rounds.start(1, 1)), list[tuple[int, str]]()

    def everything() -> str:
        jobs = slurm.ask("squeue", "--states=all", "--format=%i %j %T %r %S %e")
        return f"{jobs}\n{slurm.ask('sinfo', '--Node', '--format=%N %T %E')}"

    def lose(*numbers: int) -> None:
        # a round sees a job that it has submitted, and its hosts, if that has begun already
        slurm.ask("scontrol", "update", f"PartitionName={PARTITION}", "State=DOWN")
        rounds.controller.round()
        slurm.ask("scontrol", "update", f"PartitionName={PARTITION}", "State=UP")
        for one in map(rounds.look, numbers):
            state = ("squeue", "-h", "--states=all", "-j", str(one.jobid), "-o", "%T")
            # a host may refuse it by itself: then it has failed without having been seen as running
            wait_until(lambda state=state: slurm.ask(*state) in ("RUNNING", "FAILED"), everything)  # type: ignore[misc]
            wait_until(
                lambda one=one, state=state: (  # type: ignore[misc]
                    kill_script(slurm, one.jobid),
                    slurm.ask(*state) == "FAILED",
                )[1],
                everything,
            )
            ended.append((one.id, str(one.jobid)))
        rounds.controller.round()
        assert all(
            rounds.look(number).jobid is None
            for number in numbers
            if rounds.look(number).state == "submitted"
        )

    lose(saved, unlucky)
    lose(unlucky)
    lose(unlucky)
    rounds.until(unlucky, "failed", "lost")
    assert len(set(ended)) == 4
    name = rounds.until(saved, "running").name
    rounds.end(saved)
    rounds.until(saved, "cancelled", "user")
    wait_until(lambda: [state for state, _ in _accounting(slurm, name)][:1] == ["FAILED"])


@pytest.mark.slow
def test_a_set_goes_on_without_a_host_that_fails(rounds: Rounds, slurm: SlurmSite) -> None:
    number = rounds.start(0, 3)
    one = rounds.until(number, "running")
    holder = slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%B")
    assert one.nodelist is not None
    lost = next(
        host
        for host in HOSTS
        if host != holder and host in slurm.ask("scontrol", "show", "hostnames", one.nodelist)
    )
    slurm.signal(f"slurmd.{lost}", "KILL")
    try:
        wait_until(lambda: (rounds.turn(), rounds.look(number).degraded)[1], "the set is degraded")
        assert rounds.look(number).state == "running"
        rounds.end(number)
        rounds.until(number, "cancelled", "user")
    finally:
        slurm.start_host(lost)


@pytest.mark.slow
def test_a_job_whose_script_gets_no_request_is_cancelled(rounds: Rounds, slurm: SlurmSite) -> None:
    number = rounds.start(0, 2)
    one = rounds.until(number, "running")
    holder = slurm.ask("squeue", "-h", f"--name={one.name}", "-o", "%B")
    log, request = slurm.folder / "log/slurmctld", f"REQUEST_KILL_JOB JobId={one.jobid} "
    state = ("squeue", "-h", f"--name={one.name}", "-o", "%T")
    slurm.signal(f"slurmd.{holder}", "KILL")
    try:
        rounds.end(number)
        wait_until(lambda: (rounds.turn(), request in log.read_text("utf-8"))[1], "the job is to end")
        asked, rounds.hands.ahead_seconds = log.read_text("utf-8").count(request), -600
        rounds.turn()
        assert log.read_text("utf-8").count(request) == asked, "its time has not come again"
        rounds.hands.ahead_seconds = 21
        wait_until(lambda: (rounds.turn(), slurm.ask(*state) == "COMPLETING")[1], lambda: slurm.ask(*state))
    finally:
        slurm.start_host(holder)
    rounds.until(number, "cancelled", "user")


@pytest.mark.slow
def test_a_set_whose_job_slurm_ends_has_the_reason(
    rounds: Rounds, slurm: SlurmSite, request: pytest.FixtureRequest
) -> None:
    """All at once: each waits for a timer of Slurm."""
    administer = ("sacctmgr", "--immediate", "--quiet")
    slurm.ask(*administer, "add", "account", "gam1")
    slurm.ask(*administer, "add", "user", USER, "account=gam1")
    slurm.ask("scontrol", "update", f"partition={PARTITION}", "OverTimeLimit=0")
    request.addfinalizer(
        lambda: slurm.ask("scontrol", "update", f"partition={PARTITION}", "OverTimeLimit=120")
    )
    rounds.hands.ahead_seconds = -3600.0  # Nucleus does not end the set at its walltime: Slurm does
    numbers = {
        "preempted": rounds.start(0, 1),
        "node": rounds.start(1, 1),
        "timeout": rounds.start(2, 1, minutes=1),
    }
    limited = rounds.start(3, 1, account="gam1")
    batch = {reason: rounds.until(number, "running").nodelist for reason, number in numbers.items()}
    rounds.until(limited, "running")
    rounds.turn()
    assert len(rounds.nodes_on()) == 4
    slurm.signal(f"slurmd.{batch['node']}", "KILL")
    request.addfinalizer(lambda: slurm.start_host(str(batch["node"])))
    slurm.ask(*administer, "modify", "account", "gam1", "set", "GrpTRESMins=node=0")
    slurm.ask(
        "sbatch", "-p", "urgent", f"--nodelist={batch['preempted']}", "--exclusive", "-A", ACCOUNT, "-D", "/",
        "-o", "/dev/null", "--wrap", "exec sleep 600",
    )  # fmt: skip
    for reason, number in numbers.items():
        rounds.until(number, "completed" if reason == "timeout" else "failed", reason)
    assert len(rounds.nodes_on()) == 1
    rounds.end(limited)  # with `safe`, Slurm does not end what it has begun
    rounds.until(limited, "cancelled", "user")


@pytest.mark.slow
def test_sets_run_and_end_while_the_accounting_is_away(rounds: Rounds, slurm: SlurmSite) -> None:
    slurm.signal("slurmdbd", "KILL")
    try:
        number = rounds.start(0, 2, minutes=180)
        one = rounds.until(number, "running")
        rounds.hands.ahead_seconds += 3600
        rounds.turn()
        assert rounds.look(number).state == "running", "after an hour, too"
        rounds.end(number)
        rounds.until(number, "cancelled", "user")
    finally:
        slurm.start_database()
    wait_until(
        lambda: _accounting(slurm, one.name) == [["COMPLETED", "2"]], "what happened meanwhile is charged"
    )
