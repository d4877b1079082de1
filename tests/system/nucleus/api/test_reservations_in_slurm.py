"""Reservations of a site whose batch system is Slurm: what Slurm has of them."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Guard, Pool
from owners.computesets import slurm as backend
from owners.reservations.controller import Controller
from owners.reservations.reserve import SlurmReservations
from rocks.core.errors import HostError
from rocks.core.process import Finished
from rocks.database.settings import Settings
from tests.slurm_site import ACCOUNT, HOSTS, PARTITION, USER, SlurmSite, slurm_site
from tests.system.nucleus.api.conftest import ALL, at, changed, reserve, start, started
from tests.system.nucleus.conftest import sql
from tests.system.nucleus.slurm_rounds import Hands, Rounds


@pytest.fixture(scope="module")
def slurm(mariadb: Settings) -> Iterator[SlurmSite]:
    """A Slurm of this module's own: slurmctld 22.05 was seen to hang after it had reservations."""
    assert mariadb.socket is not None
    with slurm_site(mariadb.socket) as started:
        yield started


@pytest.fixture
def operator(slurm: SlurmSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmSite]:
    """The module's Slurm, in which the service's user is an operator."""
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    level = ("--immediate", "--quiet", "modify", "user", USER, "set")
    slurm.ask("sacctmgr", *level, "adminlevel=operator")
    yield slurm
    slurm.ask("sacctmgr", *level, "adminlevel=none")
    for line in slurm.ask("scontrol", "--oneliner", "show", "reservation").splitlines():
        if line.startswith("ReservationName="):
            slurm.ask("scontrol", "delete", line.split()[0])


def reserved(slurm: SlurmSite) -> list[tuple[str, str]]:
    """(name, number of nodes) of each reservation of Slurm."""
    text = slurm.ask("scontrol", "--oneliner", "show", "reservation")
    fields = [dict(it.split("=", 1) for it in line.split() if "=" in it) for line in text.splitlines()]
    return [(one["ReservationName"], one["NodeCnt"]) for one in fields if "ReservationName" in one]


@pytest.mark.slow
def test_a_reservation_of_this_site_is_one_of_slurm(
    configuration: Configuration, pool: Pool, people: dict[str, str], sites: None, operator: SlurmSite
) -> None:
    slurm = operator
    settings = changed(configuration, "batch", kind="slurm", partition=PARTITION, user=USER, hosts=[])
    with started(settings, pool, people) as service:
        made = reserve(service, cpus=5, repeat="daily", until=at(30))
        assert made.status_code == 201, made.text
        numbers = [number for (number,) in sql(pool, "SELECT id FROM reservation_interval ORDER BY id")]
        assert reserved(slurm) == [(f"nucleus-{number}", "2") for number in numbers], "4 CPUs a node"
        text = slurm.ask("scontrol", "--oneliner", "show", "reservation", f"nucleus-{numbers[0]}")
        assert f"Users={USER} " in text and f"PartitionName={PARTITION} " in text
        # of 3 nodes Slurm gives the 2 that are free, and says that it is done
        refused = reserve(service, cpus=9)
        assert refused.status_code == 409 and "not enough free hosts" in refused.json()["detail"]
        refused = reserve(service, begin=-0.5, hours=25, cpus=9)
        assert refused.status_code == 409
        assert len(reserved(slurm)) == 2 and sql(pool, "SELECT COUNT(*) FROM reservation") == [(1,)]
        batch_job = reserve(service, begin=5, cpus=16, repeat="daily", until=at(60))
        assert batch_job.status_code == 201 and len(reserved(slurm)) == 5
        other = reserve(service, site="NCHC", cpus=1, memory_gb=1, ent=True)
        assert other.status_code == 201 and len(reserved(slurm)) == 5, "another site is not Slurm's"
        assert service.ask("ann", "DELETE", f"{ALL}/{made.json()['id']}").status_code == 204
        assert [count for _, count in reserved(slurm)] == ["4"] * 3
        assert reserve(service, cpus=9).status_code == 201
        slurm.ask("sacctmgr", "--immediate", "--quiet", "modify", "user", USER, "set", "adminlevel=none")
        assert reserve(service, begin=20, cpus=1).status_code == 503, "no right of an operator"
        count = sql(pool, "SELECT COUNT(*) FROM reservation_interval WHERE state = 'waiting'")
        assert count == [(5,)]


@pytest.mark.slow
def test_any_number_of_times_takes_the_same_few_programs_of_slurm(
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    sites: None,
    operator: SlurmSite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The site's row is locked meanwhile."""
    calls: list[tuple[str, ...]] = []
    of_slurm = backend.run

    def run(arguments: tuple[str, ...], **options: Any) -> Finished:
        calls.append(arguments)
        return of_slurm(arguments, **options)

    settings = changed(configuration, "batch", kind="slurm", partition=PARTITION, user=USER, hosts=[])
    with started(settings, pool, people) as service:
        monkeypatch.setattr(backend, "run", run)
        made = reserve(service, cpus=5, repeat="daily", until=at(99 * 24))
        assert made.status_code == 201 and len(reserved(operator)) == 99
        assert len(calls) == 3, calls
        assert reserve(service, "bob", begin=24, cpus=9).status_code == 409
        assert len(reserved(operator)) == 99, "what Slurm has of the refused one is ended"
        calls.clear()
        assert service.ask("ann", "DELETE", f"{ALL}/{made.json()['id']}").status_code == 204
        assert not reserved(operator) and len(calls) == 1


def test_slurm_ends_reservations_and_keeps_none_that_nobody_has(
    configuration: Configuration, pool: Pool, people: dict[str, str], sites: None, operator: SlurmSite
) -> None:
    settings = changed(configuration, "batch", kind="slurm", partition=PARTITION, user=USER, hosts=[])
    guard = Guard(pool.settings, "reservations")
    assert guard.take()
    with started(settings, pool, people) as service:
        later = reserve(service, begin=48, cpus=4)  # nothing else looks at it today
        assert later.status_code == reserve(service, cpus=4).status_code == 201
    first, second = [number for (number,) in sql(pool, "SELECT id FROM reservation_interval ORDER BY id")]
    times = ("starttime=now+9hours", "duration=60", f"partition={PARTITION}", "nodecnt=1")
    for name, user in (("nucleus-999999", USER), ("nucleus-999998", "root"), ("maintenance", USER)):
        operator.ask("scontrol", "create", "reservation", f"reservationname={name}", f"users={user}", *times)
    try:
        hands = Hands()
        controller = Controller(settings, guard, hands.clock)
        controller.round()
        operator.ask("scontrol", "delete", f"reservationname=nucleus-{first}")
        hands.ahead_seconds = 31
        controller.round()
        counts = "SELECT COUNT(*) FROM reservation_interval WHERE state = 'waiting'"
        assert sql(pool, counts) == [(2,)], "it may be a moment's"
        hands.ahead_seconds = 131
        controller.round()
        operator.ask(
            "scontrol", "create", "reservation", "reservationname=nucleus-999997", f"users={USER}", *times
        )
        operator.ask("scontrol", "delete", f"reservationname=nucleus-{second}")
        controller = Controller(settings, guard, hands.clock)
        for hands.ahead_seconds in (200, 300):
            controller.round()
        assert sql(pool, counts) == [(1,)], (
            "what is missing at the first look may be lost: nobody has ended it"
        )
    finally:
        guard.release()
    names = {name for name, _ in reserved(operator)}
    assert names == {"nucleus-999998", "maintenance"}, "a death of ours left the others"
    reason = "the site's scheduler has ended the reservation"
    assert sql(pool, "SELECT id, state, reason FROM reservation_interval ORDER BY id") == [
        (first, "failed", reason),
        (second, "waiting", None),
    ]


@pytest.mark.slow
def test_what_changes_while_the_controller_asks_slurm_stays_as_it_was_made(
    configuration: Configuration,
    pool: Pool,
    people: dict[str, str],
    sites: None,
    operator: SlurmSite,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The site is not locked meanwhile. What is cancelled while Slurm is away is ended there afterwards."""
    settings = changed(configuration, "batch", kind="slurm", partition=PARTITION, user=USER, hosts=[])
    guard, hands, of_slurm = Guard(pool.settings, "reservations"), Hands(), SlurmReservations.numbers
    made: list[int] = []

    def is_away(*_: Any) -> None:
        raise HostError("scontrol failed: Unable to contact slurm controller")

    assert guard.take()
    try:
        with started(settings, pool, people) as service, monkeypatch.context() as patch:
            first = reserve(service, cpus=4).json()["id"]

            def numbers(slurm: SlurmReservations) -> set[int]:
                found = of_slurm(slurm)
                made.append(reserve(service, "bob", cpus=4).status_code)
                made.append(service.ask("ann", "DELETE", f"{ALL}/{first}").status_code)
                return found

            patch.setattr(SlurmReservations, "numbers", numbers)
            controller = Controller(settings, guard, hands.clock)
            controller.round()
            assert made == [201, 204] and "without the reservations" not in caplog.text
            states = dict(sql(pool, "SELECT id, state FROM reservation_interval"))
            assert sorted(states.values()) == ["cancelled", "waiting"]
            second = max(states)
            assert reserved(operator) == [(f"nucleus-{second}", "1")]
            patch.undo()
            patch.setattr(SlurmReservations, "delete", is_away)
            number = service.get("bob", ALL).json()[0]["id"]
            assert service.ask("bob", "DELETE", f"{ALL}/{number}").status_code == 204
            assert len(reserved(operator)) == 1 and "Unable to contact" in caplog.text
        hands.ahead_seconds = 31
        controller.round()
        assert not reserved(operator)
    finally:
        guard.release()


@pytest.mark.slow
def test_a_computeset_runs_in_a_reservation_that_its_account_may_use(
    rounds: Rounds, operator: SlurmSite
) -> None:
    """Of those of others, and of those that are not there, its owner reads why it failed."""
    slurm = operator
    created = ("scontrol", "create", "reservation", "starttime=now", "duration=60", "flags=ignore_jobs")
    slurm.ask(*created, "reservationname=school", f"accounts={ACCOUNT}", f"nodes={HOSTS[3]}")
    slurm.ask(*created, "reservationname=repair", "users=root", f"nodes={HOSTS[2]}")
    number = rounds.start(0, 1, reservation="school")
    refused = [rounds.start(1, 1, reservation="repair"), rounds.start(2, 1, reservation="none")]
    for one in refused:
        rounds.until(one, "failed", "there is no such reservation for this allocation")
    assert rounds.until(number, "running").nodelist == HOSTS[3]
    rounds.end(number)
    rounds.until(number, "cancelled", "user")


def test_a_computeset_takes_no_reservation_of_a_cluster_of_pragma(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """All are of the service's user, who submits the jobs of computesets, too."""
    settings = changed(configuration, "batch", kind="slurm", partition=PARTITION, user=USER, hosts=[])
    with started(settings, pool, people) as service:
        for name in ("nucleus-7", "school,Nucleus-7"):
            answer = start(service, count=1, reservation=name)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#/reservation"), name
            assert "it is of a cluster of PRAGMA" in answer.json()["detail"]
        made = start(service, count=1, reservation="school")
        assert (made.status_code, made.json()["reservation"]) == (201, "school"), made.text
    with started(configuration, pool, people) as service:
        assert "this site has no Slurm" in start(service, count=1, reservation="school").json()["detail"]
