"""Reservations of a site with a real Slurm: its nodes have the cluster, and its hooks know why a host has machines.

The hosts are in memory; libvirt's test driver has the same machines for the hooks.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nucleus.configuration import BatchSettings
from nucleus.mirror.pool import Pool
from nucleus.states import SCHEDULER_AWAY, TOO_FEW_HOSTS
from owners.computesets import slurm
from owners.reservations import reserve
from owners.reservations.reserve import SlurmReservations
from owners.reservations.rules import Span
from rocks.core.process import Finished
from rocks.database.settings import Settings
from tests.slurm_site import PARTITION, USER, SlurmSite, slurm_site
from tests.system.machines.site import NEW, OLD, MachineSite
from tests.system.nucleus.conftest import nucleus_settings, pool, sql, worker_schema
from tests.system.pragma.test_life import nothing_is_left
from tests.system.pragma.test_reservations import KilledError, Process, ssh
from tests.waiting import wait_until

__all__ = ["nucleus_settings", "pool", "ssh", "worker_schema"]

pytestmark = pytest.mark.slow

BATCH = BatchSettings(kind="slurm", partition=PARTITION, user=USER)
DRAINED = "vm-without-job"
PLACE = " (place 1 of the reservations that wait)"
WAITS = tuple(
    text + PLACE
    for text in (
        TOO_FEW_HOSTS,
        "hosts that it needs are not available",
        "a host was not ready; it is tried again in some minutes",
    )
)
"""Why a cluster waits whose nodes have machines: Slurm chooses, by what it has tried already."""


class SlurmProcess(Process):
    """As `Process`, of a site with Slurm; it also dies before or after a change in Slurm that `dies_at` names."""

    def __init__(self, machines: MachineSite, pool: Pool, folder: Path, slurm: SlurmSite) -> None:
        self.slurm, self.machines = slurm, machines
        self.dies_at: tuple[str, bool] | None = None
        super().__init__(machines, pool, folder, BATCH)

    def step(self, arguments: tuple[str, ...], act: Callable[[], Any]) -> Any:
        """Act; die before it or after it, once."""
        if self.dies_at is None or self.dies_at[0] not in " ".join(arguments):
            return act()
        is_before, self.dies_at = self.dies_at[1], None
        if not is_before:
            act()
        raise KilledError

    def show_hooks(self) -> None:
        """Have the hooks see what runs on the hosts now."""
        for host in (OLD, NEW):
            facts = self.machines.hosts[host].domains.facts()
            on = [fact.name for fact in facts if fact.state != "shutoff"]
            self.slurm.set_machine(host, on[0] if on else None)

    def reserve_now(self) -> int:
        """An interval of one node that begins now in Slurm, and in a minute here."""
        self.hands.ahead_seconds = 0
        self.restart()  # else it waits until its last look at Slurm, which was later, is past
        number = self.reserve(30, cpus=2)
        now = datetime.now(UTC)
        SlurmReservations(BATCH).create({number: Span(now, now + timedelta(minutes=31))}, 2)
        return number

    def begin(self) -> None:
        self.hands.ahead_seconds = 61
        self.turn_until_alive()

    def end(self) -> None:
        self.hands.ahead_seconds = 60 + 21 * 60

    def wait_for(self, state: str, number: int) -> None:
        """Turns, until the interval has the state."""

        def is_there() -> bool:
            self.turn_until_alive()
            self.show_hooks()
            sql(self.pool, "UPDATE operation SET not_before = NULL")
            return self.states(number) == [state]

        wait_until(is_there, self.describe)

    def wait_until_slurm_has_nothing(self) -> None:
        def has_nothing() -> bool:
            self.hands.ahead_seconds += 31
            self.turn_until_alive()
            return not self.reservations() and not self.jobs()

        wait_until(has_nothing, lambda: f"{self.reservations()} {self.jobs()}")

    def boots(self) -> list[tuple[str, ...]]:
        return [call for call in self.executor.calls if call[:2] == ("pragma", "boot")]

    def reservations(self) -> list[str]:
        text = self.slurm.ask("scontrol", "--oneliner", "show", "reservation")
        return [line.split()[0] for line in text.splitlines() if line.startswith("ReservationName=")]

    def jobs(self) -> list[str]:
        """NAME STATE HOSTS of each."""
        return self.slurm.ask("squeue", "-h", "-u", USER, "-o", "%j %T %N").splitlines()

    def check_health(self, host: str) -> None:
        """Run Slurm's health check of the host once more."""
        hook = str(self.slurm.folder / "hook")
        self.slurm.run_inside("env", "-u", "SLURM_SCRIPT_CONTEXT", f"SLURMD_NODENAME={host}", hook)

    def why(self, number: int) -> str | None:
        """The interval's reason, as its owner reads it."""
        return sql(self.pool, "SELECT reason FROM reservation_interval WHERE id = %s", (number,))[0][0]  # type: ignore[no-any-return]

    def wait_for_its_reason(self, number: int) -> None:
        """Turns, until the interval's reason is why its job waits."""

        def has_reason() -> bool:
            sql(self.pool, "UPDATE operation SET not_before = NULL")
            self.turn()
            return self.why(number) in WAITS

        wait_until(has_reason, lambda: str(self.why(number)))

    def reason(self, host: str) -> str:
        """Why Slurm gives the host to nobody."""
        return self.slurm.ask("sinfo", "-h", "-N", "-n", host, "-p", PARTITION, "-o", "%E")


@pytest.fixture(scope="module")
def started_slurm(mariadb: Settings) -> Iterator[SlurmSite]:
    """A Slurm with the hosts of the site, in which the service's user is an operator."""
    assert mariadb.socket is not None
    with slurm_site(mariadb.socket, (OLD, NEW)) as started:
        started.ask(
            "sacctmgr", "--immediate", "--quiet", "modify", "user", USER, "set", "adminlevel=operator"
        )
        yield started


@pytest.fixture
def process(
    machines: MachineSite,
    pool: Pool,
    tmp_path: Path,
    started_slurm: SlurmSite,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SlurmProcess]:
    monkeypatch.setenv("PATH", f"{started_slurm.bin}:{os.environ['PATH']}")
    made = SlurmProcess(machines, pool, tmp_path, started_slurm)
    of_slurm = slurm.run

    def run(arguments: tuple[str, ...], **options: Any) -> Finished:
        lines = options.get("standard_input", b"").decode()
        return made.step((*arguments, lines), lambda: of_slurm(arguments, **options))

    monkeypatch.setattr(slurm, "run", run)
    rocks = made.executor.run
    monkeypatch.setattr(
        made.executor,
        "run",
        lambda arguments, seconds: made.step(("rocks", *arguments), lambda: rocks(arguments, seconds)),
    )
    with started_slurm.checked_hosts():
        yield made
        made.dies_at = None
        for host in (OLD, NEW):
            started_slurm.set_machine(host, None)
        for line in made.jobs():
            started_slurm.ask("scancel", f"--name={line.split()[0]}")
        made.close()
    started_slurm.clear()
    for name in made.reservations():
        started_slurm.ask("scontrol", "delete", name)


def test_a_cluster_runs_on_the_reserved_node_which_is_not_drained(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    """Another boot would take the other host, and the physical frontend for the cluster's."""
    number = process.reserve_now()
    process.begin()
    process.wait_for("running", number)
    assert {machines.place(name) for name in ("dock", "vm-dock-0")} == {OLD}
    assert process.jobs() == [f"nucleus-{number} RUNNING {OLD}"]
    minutes = process.slurm.ask("squeue", "-h", "-u", USER, "-o", "%L").split(":")
    assert 25 <= int(minutes[0]) <= 31, "it lasts until the end of the interval"
    process.check_health(OLD)
    assert process.reason(OLD) == "none"
    process.end()
    process.wait_for("stopped", number)
    process.wait_until_slurm_has_nothing()
    nothing_is_left(machines)
    assert process.reason(OLD) == "none"


def test_a_cluster_waits_for_the_machines_that_the_hosts_still_have(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    """Of a node with a machine, which is drained, Slurm puts another into the reservation, if it has one."""
    number = process.reserve_now()
    for host in (OLD, NEW):
        process.slurm.set_machine(host, "vm-other-0")
    process.begin()
    wait_until(lambda: {process.reason(host) for host in (OLD, NEW)} == {DRAINED})
    process.turn()
    assert process.states(number) == ["starting"] and process.boots() == []
    process.wait_for_its_reason(number)
    process.wait_for("running", number)
    assert process.why(number) is None
    assert process.jobs() == [f"nucleus-{number} RUNNING {machines.place('vm-dock-0')}"]
    process.end()
    process.wait_for("stopped", number)
    process.wait_until_slurm_has_nothing()


def test_a_cluster_begins_when_slurmctld_is_back_and_outlives_it(
    process: SlurmProcess,
    machines: MachineSite,
    ssh: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # seven programs of Slurm are ended while it is away
    monkeypatch.setattr(reserve, "SlurmReservations", partial(SlurmReservations, command_seconds=2.0))
    number = process.reserve_now()
    saved = process.slurm.folder / "state/resv_state"
    wait_until(lambda: saved.exists() and f"nucleus-{number}".encode() in saved.read_bytes())
    process.slurm.signal("slurmctld", "KILL")
    process.begin()
    process.turn()
    assert process.states(number) == ["starting"] and process.boots() == []
    assert process.why(number) == SCHEDULER_AWAY
    process.slurm.start_controller()
    process.wait_for("running", number)
    process.slurm.signal("slurmctld", "KILL")
    process.hands.ahead_seconds += 200
    process.turn()
    process.end()
    process.wait_for("stopped", number)
    nothing_is_left(machines)
    process.slurm.start_controller()
    process.wait_until_slurm_has_nothing()


def test_what_an_operator_ends_in_slurm_ends_the_cluster(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    ended = "the site's scheduler has ended the reservation"
    number = process.reserve_now()
    process.begin()
    process.wait_for("running", number)
    process.slurm.ask("scancel", f"--name=nucleus-{number}")
    wait_until(lambda: "RUNNING" not in str(process.jobs()))
    for _ in range(3):
        process.hands.ahead_seconds += 40
        process.turn()
    process.wait_for("stopped", number)
    process.wait_until_slurm_has_nothing()
    nothing_is_left(machines)
    second = process.reserve_now()
    process.turn()
    process.slurm.ask("scontrol", "delete", f"reservationname=nucleus-{second}")
    process.begin()
    assert process.states(second) == ["starting"] and process.jobs() == []
    for _ in range(3):
        process.hands.ahead_seconds += 40
        process.turn()
    process.wait_for("failed", second)
    nothing_is_left(machines)
    assert sql(process.pool, "SELECT reason FROM reservation_interval") == [(ended,)] * 2


def test_a_cluster_whose_job_is_lost_before_it_answers_ends(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    ssh(b"")
    number = process.reserve_now()
    process.begin()

    def has_booted() -> bool:
        process.turn()
        sql(process.pool, "UPDATE operation SET not_before = NULL")
        return bool(process.boots())

    wait_until(has_booted, process.describe)
    process.turn()
    (place,) = machines.running("dock")
    assert process.states(number) == ["starting"] and process.jobs() == [f"nucleus-{number} RUNNING {place}"]
    process.slurm.ask("scancel", f"--name=nucleus-{number}")
    wait_until(lambda: "RUNNING" not in str(process.jobs()))
    process.wait_for("failed", number)
    assert str(process.why(number)).endswith("the site's scheduler has ended the job that had its hosts")
    assert len(process.boots()) == 1
    process.wait_until_slurm_has_nothing()
    nothing_is_left(machines)


STEPS = (
    "sbatch",
    "endtime=",
    "pragma boot",
    "pragma list",
    "pragma shutdown",
    "pragma clean",
    "scancel",
    "scontrol delete",
)


@pytest.mark.parametrize("is_before", [True, False])
def test_a_process_that_is_killed_at_any_step_leaves_neither_job_nor_reservation(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None], is_before: bool
) -> None:
    for arguments in STEPS:
        process.executor.calls.clear()
        number = process.reserve_now()
        process.dies_at = arguments, is_before
        process.begin()
        process.wait_for("running", number)
        # on either host: Slurm chooses, and gives no node that the round before has drained for a moment
        assert process.jobs() == [f"nucleus-{number} RUNNING {machines.place('vm-dock-0')}"]
        assert "dock7" not in machines.rocks("list cluster").out
        process.end()
        process.wait_for("stopped", number)
        process.wait_until_slurm_has_nothing()
        nothing_is_left(machines)
        assert process.dies_at is None, f"{arguments} was not called"
        process.slurm.wait_until_idle()


def test_a_cluster_that_got_no_hosts_until_its_end_fails_by_that_reason(
    process: SlurmProcess, machines: MachineSite, ssh: Callable[[bytes], None]
) -> None:
    number = process.reserve_now()
    for host in (OLD, NEW):
        process.slurm.set_machine(host, "vm-other-0")
    process.begin()
    process.wait_for_its_reason(number)
    process.end()
    process.wait_for("failed", number)
    reason = str(process.why(number))
    assert reason.startswith("the cluster was not started: ") and reason.endswith(PLACE)
    process.wait_until_slurm_has_nothing()
    for host in (OLD, NEW):
        process.check_health(host)
    wait_until(lambda: {process.reason(host) for host in (OLD, NEW)} == {"none"})
