"""`comet-condor`: jobs of a cluster's own HTCondor start and end computesets. Both are real, the site is simulated."""

import json
from collections.abc import Iterator

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.mirror import identity
from tests.guest_condor import GuestCondor, guest_condor
from tests.system.comet.conftest import Site
from tests.waiting import at_once, wait_until

MACHINES = [f"vm-vc2-{number}" for number in range(4)]


@pytest.fixture
def condor(day: Site) -> Iterator[GuestCondor]:
    """The HTCondor of vc2, with a token of ann's."""
    with guest_condor() as started:
        started.permit(day.service.url, token(day, "computeset", "power"))
        yield started


def token(day: Site, *scopes: str) -> str:
    """A token of ann."""
    with day.pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        return store_token(session, user.id, list(scopes), None, None, "comet-condor")[1].text


def sets(day: Site) -> list[tuple[object, ...]]:
    return day.rows("SELECT walltime_minutes, account, state, end_reason FROM computeset ORDER BY id")


def states(condor: GuestCondor, job: str) -> list[str]:
    """The states of its jobs that have not left the queue: 1 idle, 2 running."""
    return condor.ask("condor_q", "-allusers", job, "-af", "JobStatus").split()


def reasons(condor: GuestCondor) -> list[str]:
    """What an owner reads of the machines."""
    text = condor.ask("condor_status", "-af", "Machine", "CometReason").replace("undefined", "")
    return sorted(line.strip() for line in text.splitlines())


def offered(condor: GuestCondor) -> list[str]:
    found = condor.ask("condor_status", "-constraint", "Offline =?= true", "-af", "Machine")
    return sorted(set(found.split()))


def explain(day: Site, condor: GuestCondor) -> str:
    """What a failure needs."""
    matches = condor.ask(
        "condor_status", "-af", "Machine", "Offline", "State", "MachineLastMatchTime", "CometReason"
    )
    logs = [it.read_text("utf-8", "replace")[-1500:] for it in condor.folder.glob("*/log/*RoosterLog")]
    return "\n".join((condor.ask("condor_q", "-allusers"), matches, str(sets(day)), *logs))


def test_a_job_starts_a_computeset_which_ends_when_its_machine_has_no_job(
    day: Site, condor: GuestCondor
) -> None:
    def is_on(name: str) -> bool:
        return day.simulator.guests[name].state == "active"

    def switch_off(name: str) -> None:
        day.simulator.run(("stop", "host", "vm", name, "action=poweroff"), 60)

    with day.at_work(), condor.computes_follow(is_on, switch_off):
        condor.comet_condor()
        wait_until(lambda: offered(condor) == MACHINES, lambda: explain(day, condor))
        job = condor.submit("accounting_group=alp1", "allowed_execute_duration=599")
        wait_until(lambda: len(sets(day)) == 1, lambda: explain(day, condor))
        at_once(lambda _: condor.comet_condor(), [1, 2])
        wait_until(lambda: states(condor, job) == [], lambda: explain(day, condor))
        found = condor.ask("condor_history", job, "-af", "JobStatus", "ExitCode", "LastRemoteHost").split()
        assert found[:2] == ["4", "0"] and found[2].partition("@")[2] in MACHINES
        wait_until(
            lambda: (condor.comet_condor(), sets(day)[0][2] == "cancelled")[1], lambda: explain(day, condor)
        )
        wait_until(
            lambda: (condor.comet_condor(), offered(condor) == MACHINES)[1], lambda: explain(day, condor)
        )
    assert sets(day) == [(25, "alp1", "cancelled", "user")], "once"
    assert json.loads((condor.folder / "frontend/spool/comet.json").read_text()) == {}


def test_what_goes_wrong_while_a_job_waits(day: Site, condor: GuestCondor) -> None:
    """No computeset begins here: nothing drives them, until the last one has been ended."""

    def job_for(machine: str, *lines: str) -> str:
        return condor.submit(f'requirements=Machine == "{machine}"', *lines)

    def refused(machine: str, text: str, *lines: str) -> None:
        job = job_for(machine, *lines)
        wait_until(
            lambda: any(line.startswith(machine) and text in line for line in reasons(condor)),
            lambda: explain(day, condor),
        )
        condor.ask("condor_rm", job)

    condor.comet_condor()
    wait_until(lambda: offered(condor) == MACHINES, lambda: explain(day, condor))
    condor.permit(day.service.url, "nuc_12345678_" + "y" * 43)
    refused("vm-vc2-0", "these credentials are unknown")
    condor.permit(day.service.url, token(day, "computeset", "power"))
    with day.pool.transaction() as session:
        session.execute("UPDATE project SET limits = '{\"node_hours\": 0}' WHERE name = 'alpha'")
    refused("vm-vc2-1", "hours", "allowed_execute_duration=599")
    assert sets(day) == []
    with day.pool.transaction() as session:
        session.execute("UPDATE project SET limits = '{}' WHERE name = 'alpha'")

    condor.permit("http://127.0.0.1:9/nucleus", token(day, "computeset", "power"))
    removed = job_for("vm-vc2-2")
    second = job_for("vm-vc2-3", "allowed_execute_duration=599")
    wait_until(lambda: len(matched(condor)) == 2, lambda: explain(day, condor))
    away = condor.comet_condor(is_checked=False)
    assert (away.exit_status, "cannot be reached" in away.error_text) == (6, True)
    condor.ask("condor_rm", removed)
    # one that is killed after each step, and run again; condor_rooster starts them, too
    condor.die_after(1)
    condor.permit(day.service.url, token(day, "computeset", "power"))
    for steps in range(1, 100):
        condor.die_after(steps)
        if condor.comet_condor(is_checked=False).exit_status == 0:
            break
    assert steps > 8, "it has as many steps at least"
    condor.die_after(0)
    condor.comet_condor()
    assert sets(day) == [(25, "alp1", "created", None)]
    ((number,),) = day.rows("SELECT id FROM computeset")
    stored = json.loads((condor.folder / "frontend/spool/comet.json").read_text())
    assert len(stored) == 1 and list(stored) == [str(number)] and len(stored[str(number)]) == 1
    assert any(f"computeset {number} is created" in line for line in reasons(condor))
    condor.ask("condor_rm", second)
    condor.comet_condor()
    with day.at_work():
        wait_until(lambda: sets(day)[0][2:] == ("cancelled", "user"), lambda: explain(day, condor))


def matched(condor: GuestCondor) -> list[str]:
    return condor.ask("condor_status", "-constraint", "Unhibernate =?= true", "-af", "Machine").split()


def test_what_keeps_a_machine_from_jobs_ends(day: Site, condor: GuestCondor) -> None:
    """A refusal at a clock that was ahead, and a job in front of others that is longer than the site permits."""
    condor.comet_condor()
    wait_until(lambda: offered(condor) == MACHINES, lambda: explain(day, condor))
    machine = 'Machine == "vm-vc2-0"'
    address = condor.ask("condor_status", "-constraint", machine, "-af", "MyAddress")
    ad = f'MyType = "Machine"\nName = "slot1@vm-vc2-0"\nMyAddress = "{address}"\nCometAgainAt = 4000000000\n'
    condor.ask("condor_advertise", "-tcp", "MERGE_STARTD_AD", given=ad)
    condor.submit(
        f"requirements={machine}",
        "allowed_execute_duration=599",
        "queue 1",
        "allowed_execute_duration=5000000",
    )
    wait_until(
        lambda: (condor.comet_condor(is_checked=False), sets(day))[1] == [(25, "alp1", "created", None)],
        lambda: explain(day, condor),
    )
