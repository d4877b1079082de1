"""Recovery: a database restored from a copy, guests that end by themselves."""

from typing import Any

import pytest

from rocks.core.errors import BusyError
from rocks.database.connection import Database
from rocks.leases.lease import forget_record
from rocks.machine import start, stop
from tests.system.machines.site import HEAD, NEW, OLD, MachineSite

EPOCH = 2**32


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_copy_with_a_lower_token_starts_again(machines: MachineSite) -> None:
    vm = machines.add("counted")
    copy = Copy(machines)
    for _ in range(3):
        machines.run(f"start host vm {vm}")
        machines.run(f"stop host vm {vm}")
    copy.put_back()
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [OLD]


@pytest.mark.slow
def test_the_same_copy_put_back_twice_is_recognised_twice(machines: MachineSite) -> None:
    vm = machines.add("again")
    copy = Copy(machines)
    machines.run(f"start host vm {vm}")
    for host in (NEW, HEAD):
        copy.put_back()
        machines.run(f"set host vm {vm} {at(machines, host, vm)}")
        assert f"already running on {OLD}" in machines.refused(f"start host vm {vm}")
    assert machines.running(vm) == [OLD]


def spelled_otherwise(machines: MachineSite) -> None:
    """`Web` runs, and is `web` in the database, which was put back: it has names without case, libvirt has not."""
    machines.add("web")
    copy = Copy(machines)
    machines.run("set host name web Web")
    machines.run("start host vm Web")
    copy.put_back()
    machines.run("sync vm lease")


def test_a_machine_that_a_copy_spells_otherwise_is_stopped(machines: MachineSite) -> None:
    spelled_otherwise(machines)
    machines.run("stop host vm web")
    assert machines.running("Web") == []
    machines.run("start host vm web")
    assert machines.running("web") == [OLD]


def test_a_machine_that_a_copy_spells_otherwise_is_fenced(machines: MachineSite) -> None:
    spelled_otherwise(machines)
    machines.vanish(OLD)
    machines.run("stop host vm web force=yes reason='unplugged'")
    machines.run(f"set host vm web {at(machines, NEW, 'web')}")
    machines.run("start host vm web")
    machines.revive()
    machines.add("other")
    machines.run("list host vm other status=yes")
    assert machines.running("Web") == [] and machines.running("web") == [NEW]


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
        assert "the leases are not compared, and no machine can start until they are: " in error
        assert OLD in error and f'rocks sync vm lease {OLD} host-off=yes reason="…"' in error
    asked = machines.refused("sync vm lease")
    assert "no machine can start until they are: " in asked and OLD in asked
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


@pytest.mark.slow
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
    assert f"or switch {OLD} off" in error and "host-off" not in error
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
        return list(stop.take_ended(database, host, list(names)))


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
    assert f"{vm} still runs: a command that was to stop it was interrupted" in machines.run(
        f"start host vm {vm}"
    )
    machines.site.change("UPDATE vm_leases SET State = 'stopping'")
    machines.hosts[OLD].domains.destroy(vm)
    assert take_ended(machines, OLD, vm) == [vm]
    assert machines.lease(vm) == (1, "released", None)
    assert (machines.hosts[OLD].state / "leases" / vm).read_text() == "2\n"


@pytest.mark.slow
@pytest.mark.parametrize("record", ["of now", "lost"])
def test_nothing_is_added_before_the_hosts_have_reported_what_a_copy_lacks(
    machines: MachineSite, record: str
) -> None:
    """A cluster of after the copy runs: a new one got its VLAN and its MAC addresses, and started beside it."""
    machines.run(f"stop host vm {machines.started('earlier')}")
    machines.hosts[NEW].links.add("peth0", "device")
    copy = Copy(machines)
    line = f"add cluster 203.0.113.77 0 fe-container={NEW} disk-per-frontend=1 fe-name="
    machines.run(f"{line}blue")
    machines.run("start host vm blue")
    copy.put_back()
    if record == "lost":  # as rocks restore site leaves it
        forget_record(machines.site.database)
    others = (f"add host vm {NEW} membership=compute name=green", "add host interface earlier eth5 vlan=102")
    for addition in (f"{line}green", *others):
        error = machines.refused(addition)
        assert "may have the VLAN and addresses that another would get" in error
        assert "`rocks sync vm lease`" in error
    assert f"blue runs on {NEW}, which the cluster database did not record" in machines.run("sync vm lease")
    assert f"blue on {NEW} may be running and not in the database" in machines.refused(f"{line}green")
    machines.run("stop host vm blue")
    machines.run(f"{line}green")


def test_a_site_that_has_granted_no_lease_adds_machines_without_a_record(machines: MachineSite) -> None:
    forget_record(machines.site.database)
    machines.add("first")
    assert "vmc-0-0 hvm" in machines.run("list host vm first")


def test_the_end_of_a_guest_that_another_start_keeps_from_its_record_is_not_lost(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start records all its machines when the last host has answered, while the first guest may have ended."""
    ended, runs = machines.add("ended"), machines.started("runs")
    reported: list[object] = []
    record = start._record_running

    def late(*arguments: Any) -> None:
        for vm in (ended, runs):
            machines.hosts[OLD].domains.destroy(vm)
        try:
            reported.append(take_ended(machines, OLD, ended, runs))
        except BusyError as error:
            reported.append(error)
        record(*arguments)

    monkeypatch.setattr(start, "_record_running", late)
    machines.run(f"start host vm {ended}")
    assert machines.lease(ended)[1:] == ("running", OLD)
    assert isinstance(reported[0], BusyError), "its host reports it once more"
    assert machines.lease(runs)[1:] == ("released", None), "the others go on"
    assert take_ended(machines, OLD, ended) == [ended]


def test_the_end_of_a_guest_whose_start_was_killed_is_taken(machines: MachineSite) -> None:
    vm = machines.started("killed")
    machines.site.change("UPDATE vm_leases SET State = 'starting'")
    assert take_ended(machines, OLD, vm) == [], "it runs"
    machines.hosts[OLD].domains.destroy(vm)
    assert take_ended(machines, OLD, vm) == [vm]
    assert machines.lease(vm) == (1, "released", None)


def test_a_machine_that_ended_by_itself_starts_under_another_name(machines: MachineSite) -> None:
    vm = machines.started("former")
    machines.hosts[OLD].domains.destroy(vm)
    assert take_ended(machines, OLD, vm) == [vm]
    machines.run(f"set host name {vm} renamed")
    machines.run("start host vm renamed")
    assert machines.running("renamed") == [OLD] and machines.state(OLD, vm) is None
