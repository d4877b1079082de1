"""Recovery: a database restored from a copy, guests that end by themselves, hosts that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocks.database.connection import Database
from rocks.machine import ended as ended_machines
from rocks.machine.leases.epoch_records import forget_record
from rocks.machine.moves import high_availability
from rocks.machine.moves.high_availability import Supervisor
from tests.system.machines.site import HEAD, NEW, OLD, MachineSite

EPOCH = 2**32
WAITING_SECONDS = 60.0


class Copy:
    def __init__(self, machines: MachineSite) -> None:
        self._machines = machines
        names = machines.sql(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
            " AND TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME NOT LIKE 'sec\\_audit%'"
        )
        self._tables = {str(name): machines.sql(f"SELECT * FROM {name}") for (name,) in names}

    def put_back(self) -> None:
        database = self._machines.site.database
        database.execute("SET foreign_key_checks = 0")
        for name, rows in self._tables.items():
            if database.rows(f"SELECT * FROM {name}") != rows:
                database.execute(f"TRUNCATE {name}")  # a lease is never deleted
                database.insert_many(f"INSERT INTO {name} VALUES", rows)
        database.execute("SET foreign_key_checks = 1")
        database.commit()


def at(machines: MachineSite, host: str, name: str) -> str:
    """The arguments that place a machine and its disk on a host."""
    return f"physnode={host} disk=file:{machines.image(f'{name}.vda', host)},vda,virtio"


def test_a_copy_from_before_a_move_finds_the_machine_where_it_runs(machines: MachineSite) -> None:
    vm = machines.started("moved")
    machines.run(f"stop host vm {vm}")
    copy = Copy(machines)
    machines.run(f"set host vm {vm} {at(machines, NEW, vm)}")
    machines.run(f"start host vm {vm}")
    token = machines.lease(vm)[0]
    copy.put_back()
    assert machines.lease(vm)[1:] == ("released", None)
    error = machines.refused(f"start host vm {vm}")
    assert f"moved runs on {NEW}, which the cluster database did not record; now it does" in error
    assert f"already running on {NEW}" in error
    assert machines.running(vm) == [NEW] and machines.lease(vm) == (token, "running", NEW)
    machines.run(f"stop host vm {vm}")
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [OLD] and machines.lease(vm)[0] == (token // EPOCH + 1) * EPOCH + 1


def test_a_copy_with_a_lower_token_starts_again(machines: MachineSite) -> None:
    vm = machines.add("counted")
    copy = Copy(machines)
    for _ in range(3):
        machines.run(f"start host vm {vm}")
        machines.run(f"stop host vm {vm}")
    copy.put_back()
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [OLD]


def test_the_same_copy_put_back_twice_is_recognised_twice(machines: MachineSite) -> None:
    vm = machines.add("again")
    copy = Copy(machines)
    machines.run(f"start host vm {vm}")
    for host in (NEW, HEAD):
        copy.put_back()
        machines.run(f"set host vm {vm} {at(machines, host, vm)}")
        assert f"already running on {OLD}" in machines.refused(f"start host vm {vm}")
    assert machines.running(vm) == [OLD]


def test_an_emptied_database_asks_the_hosts(machines: MachineSite) -> None:
    vm = machines.started("dumped")
    machines.site.change("DELETE FROM vm_lease_disks")
    machines.site.change("SET foreign_key_checks = 0")
    machines.site.change("TRUNCATE vm_leases")
    machines.site.change("SET foreign_key_checks = 1")
    machines.site.change("UPDATE lease_epoch SET Identity = 'another', Epoch = 0, Serial = 0")
    machines.run(f"set host vm {vm} {at(machines, NEW, vm)}")
    assert f"already running on {OLD}" in machines.refused(f"start host vm {vm}")
    machines.run(f"stop host vm {vm}")
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [NEW]


def test_a_silent_host_is_named_and_settled_by_the_operator(machines: MachineSite) -> None:
    lost, other = machines.started("lost"), machines.add("other", NEW)
    machines.run(f"stop host vm {lost}")
    copy = Copy(machines)
    machines.run(f"start host vm {lost}")
    machines.vanish(OLD)
    copy.put_back()
    machines.run(f"set host vm {lost} {at(machines, NEW, lost)}")
    for vm in (lost, other):
        error = machines.refused(f"start host vm {vm}")
        assert OLD in error and f'rocks sync vm lease {OLD} host-off=yes reason="…"' in error
    assert "hosts are named only together with" in machines.refused(f"sync vm lease {OLD} host-off=yes")
    assert "is this machine" in machines.refused(f"sync vm lease {HEAD} host-off=yes reason=test")
    assert "not a host on which" in machines.refused("sync vm lease vmh3 host-off=yes reason=test")
    machines.run(f"sync vm lease {OLD.upper()} host-off=yes reason='unplugged by hand'")
    assert {host for (host,) in machines.sql("SELECT Host FROM vm_fences")} == {OLD}
    machines.run(f"start host vm {lost} {other}")
    assert machines.running(lost) == [OLD, NEW], "it was not off, although the operator stated so"
    machines.revive()
    machines.add("third")
    machines.run("list host vm third status=yes")
    assert machines.running(lost) == [NEW]


def test_a_stop_works_while_a_host_is_silent(machines: MachineSite) -> None:
    vm, _ = machines.add("ending", NEW), machines.add("elsewhere")
    copy = Copy(machines)
    machines.run(f"start host vm {vm}")
    machines.vanish(OLD)
    copy.put_back()
    assert "may run on other hosts than the cluster database records" in machines.run(f"stop host vm {vm}")
    assert machines.running(vm) == []


def test_on_a_healthy_site_the_comparison_changes_nothing(machines: MachineSite) -> None:
    vm = machines.started("healthy")
    machines.run("sync vm lease")
    before = machines.sql("SELECT * FROM lease_epoch") + machines.sql(
        "SELECT Name, Token, Host FROM vm_leases"
    )
    machines.run("sync vm lease")
    assert before == machines.sql("SELECT * FROM lease_epoch") + machines.sql(
        "SELECT Name, Token, Host FROM vm_leases"
    )
    assert machines.running(vm) == [OLD]


@pytest.mark.parametrize(("name", "claim"), [(".epoch", 2**30), ("never", 2**32 - 1)])
def test_a_host_that_claims_what_was_never_granted_is_named_with_the_way_out(
    machines: MachineSite, name: str, claim: int
) -> None:
    vm = machines.started("blocked", NEW)
    machines.run(f"stop host vm {vm}")
    machines.started("here")
    file = machines.hosts[OLD].state / "leases" / name
    before = file.read_text() if file.exists() else None
    file.write_text(f"{claim}\n")
    forget_record(machines.site.database)
    error = machines.refused(f"start host vm {vm}")
    assert f"{OLD} reports lease" in error and f"/var/lib/rocks/leases/{name}" in error
    assert f"see what runs on {OLD} (`virsh list`)" in error
    assert f"rocks sync vm lease {OLD} host-off=yes" in error
    assert machines.running(vm) == []
    if before is None:
        file.unlink()
    else:
        file.write_text(before)
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [NEW]


def take_ended(machines: MachineSite, host: str, *names: str) -> list[str]:
    """As the frontend's service when the host reports ended guests; returns the machines whose lease it released."""
    machines.site.database.rollback()
    with Database(machines.site.database.settings) as database:
        return list(ended_machines.take_ended(database, host, list(names)))


def test_the_end_of_a_guest_releases_its_lease_when_its_host_confirms_it(machines: MachineSite) -> None:
    vm, other = machines.started("one"), machines.started("two")
    machines.hosts[OLD].domains.destroy(vm)
    assert take_ended(machines, NEW, vm) == [], "not its host"
    assert take_ended(machines, OLD, other, "unknown") == [], "it runs"
    assert take_ended(machines, OLD, vm, other) == [vm]
    assert (machines.lease(vm)[1:], machines.lease(other)[1:]) == (("released", None), ("running", OLD))
    machines.run(f"start host vm {vm}")
    assert take_ended(machines, OLD, vm) == []
    assert machines.running(vm) == [OLD] and machines.lease(vm)[1] == "running"


def test_the_end_of_a_guest_whose_stop_lost_its_host_is_taken(machines: MachineSite) -> None:
    vm = machines.started("lost")
    machines.vanish(OLD)
    assert f"its host {OLD} does not answer" in machines.refused(f"stop host vm {vm}")
    assert machines.lease(vm) == (1, "stopping", OLD)
    machines.revive()
    assert take_ended(machines, OLD, vm) == [], "it runs"
    assert machines.lease(vm) == (1, "stopping", OLD)
    machines.hosts[OLD].domains.destroy(vm)
    assert take_ended(machines, OLD, vm) == [vm]
    assert machines.lease(vm) == (1, "released", None)
    assert (machines.hosts[OLD].state / "leases" / vm).read_text() == "2\n"


class Service:
    """The service `rocks start service ha`, one round at a time; the commands that it starts run after the round."""

    def __init__(self, machines: MachineSite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machines, self.now, self.log = machines, 1000.0, list[str]()
        self.commands: list[list[str]] = []
        self._database = Database(machines.site.database.settings)
        monkeypatch.setattr(high_availability, "monotonic_seconds", lambda: self.now)
        monkeypatch.setattr(high_availability.process, "run", self._begin)
        self._supervisor = Supervisor(self._database, "rocks", self.log.append, 10)

    def _begin(self, arguments: list[str], deadline_seconds: float) -> SimpleNamespace:
        self.commands.append(arguments[arguments.index("rocks") + 1 :])
        return SimpleNamespace(text="", error_text="")

    def look(self, rounds: int = 4) -> list[int]:
        """Run rounds of five seconds; returns the exit status of each command that they started."""
        statuses = []
        for _ in range(rounds):
            self._supervisor.look()
            for work in self._supervisor._at_work.values():
                work.thread.join(WAITING_SECONDS)
            self._database.rollback()
            while self.commands:
                ended = self.machines.site.rocks(*self.commands.pop(0))
                self.log += (ended.out + ended.err).splitlines()
                statuses.append(ended.status)
            self.now += 5
        return statuses

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def ha(
    machines: MachineSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Service]]:
    """Starts the service. The first host has a fence command and runs two machines; `with` has high availability."""
    for name in ("with", "without"):
        machines.started(name)
    machines.run("set host attr with ha yes")
    fence = tmp_path / "fence"
    fence.touch(mode=0o600)
    fence.write_text("/bin/true\n")
    machines.run(f"set host sec_attr {OLD} vm_fence_command file={fence}")
    services: list[Service] = []

    def begin() -> Service:
        services.append(Service(machines, monkeypatch))
        return services[-1]

    yield begin
    for service in services:
        service.close()


def test_nothing_is_taken_while_the_frontend_may_be_cut_off(
    machines: MachineSite, ha: Callable[[], Service]
) -> None:
    service = ha()
    assert service.look(2) == []
    machines.vanish(OLD)
    machines.vanish(NEW)
    assert service.look() == []
    assert any("this machine may be cut off" in line for line in service.log)
    assert machines.lease("with")[1:] == ("running", OLD)


def test_without_a_fence_command_nothing_is_taken(machines: MachineSite, ha: Callable[[], Service]) -> None:
    machines.run(f"remove host sec_attr {OLD} vm_fence_command")
    service = ha()
    machines.vanish(OLD)
    assert service.look() == []
    assert any("has no fence command, so nothing is taken from it" in line for line in service.log)
    assert machines.lease("with")[1:] == ("running", OLD) and machines.place("with") == OLD


def test_a_machine_whose_disk_its_host_alone_has_stays(
    machines: MachineSite, ha: Callable[[], Service]
) -> None:
    service = ha()
    machines.vanish(OLD)
    assert set(service.look()) <= {1, 3}
    assert any("with cannot start elsewhere: its disk" in line for line in service.log)
    assert machines.lease("with")[1:] == ("running", OLD) and machines.lease("without")[1:] == (
        "running",
        OLD,
    )


def test_what_a_host_has_lost_is_started_there_again(
    machines: MachineSite, ha: Callable[[], Service]
) -> None:
    """A guest that ends leaves a note on its host; a power failure does not."""
    machines.run("set host attr without ha yes")
    notes = machines.hosts[OLD].state / "ended"
    notes.mkdir()
    for name in ("with", "without"):
        machines.hosts[OLD].domains.destroy(name)
    (notes / "without").write_text("1")
    service = ha()
    assert 0 in service.look()
    assert any(f"{OLD} answers, but does not run with any more" in line for line in service.log)
    assert machines.running("with") == [OLD] and machines.lease("with")[1:] == ("running", OLD)
    assert machines.running("without") == []
    assert machines.sql("SELECT Reason FROM vm_leases WHERE Name = 'with'") == [(None,)]
