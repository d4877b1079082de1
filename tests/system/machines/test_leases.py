"""A machine runs on at most one host: leases, fences, and hosts that stop answering and return (decision 3)."""

import json
from pathlib import Path

import pytest

from tests.system.machines.site import HEAD, NEW, OLD, MachineSite


@pytest.fixture
def vanished(machines: MachineSite) -> str:
    """A machine runs on the first host, which no longer answers; its record places it on the other host."""
    vm = machines.started("lost")
    machines.vanish(OLD)
    machines.run(f"set host vm {vm} physnode={NEW} disk=file:{machines.image('lost.vda', NEW)},vda,virtio")
    return vm


def test_it_starts_elsewhere_only_when_it_is_gone_from_its_host(machines: MachineSite) -> None:
    vm = machines.started("mover")
    machines.run(f"set host vm {vm} physnode={NEW} disk=file:{machines.image('mover.vda', NEW)},vda,virtio")
    assert "active" in machines.run(f"list host vm {vm} status=yes"), "asked of the host that it runs on"
    error = machines.refused(f"start host vm {vm}")
    assert f"already running on {OLD}" in error and f"rocks stop host vm {vm}" in error
    assert machines.running(vm) == [OLD] and machines.lease(vm)[1:] == ("running", OLD)
    machines.run(f"stop host vm {vm}")
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [NEW] and machines.lease(vm)[1:] == ("running", NEW)


def test_a_guest_that_ended_by_itself_frees_the_lease_at_the_next_start(machines: MachineSite) -> None:
    vm = machines.started("ended")
    token = machines.lease(vm)[0]
    machines.hosts[OLD].domains.destroy(vm)
    machines.run(f"set host vm {vm} physnode={NEW} disk=file:{machines.image('ended.vda', NEW)},vda,virtio")
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [NEW] and machines.lease(vm) == (token + 1, "running", NEW)
    machines.add("other")
    machines.run("list host vm other status=yes")
    assert machines.state(OLD, vm) is None, "its fence has removed the definition"


def test_a_guest_that_ended_starts_again_on_its_host(machines: MachineSite) -> None:
    vm = machines.started("ended")
    machines.hosts[OLD].domains.destroy(vm)
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [OLD] and machines.lease(vm) == (2, "running", OLD)
    fact = machines.hosts[OLD].domains.find(vm)
    assert fact is not None and fact.token == 2


def test_a_vanished_host_keeps_its_machine(machines: MachineSite, vanished: str) -> None:
    error = machines.refused(f"start host vm {vanished}")
    assert f"may still be running on {OLD}, which does not answer" in error and "force=yes reason=" in error
    assert machines.running(vanished) == [OLD] and machines.lease(vanished)[1:] == ("running", OLD)
    assert "does not answer" in machines.refused(f"stop host vm {vanished}")
    assert "reason" in machines.refused(f"stop host vm {vanished} force=yes")
    assert machines.lease(vanished)[2] == OLD


def test_a_host_that_answers_with_an_error_is_not_silent(machines: MachineSite) -> None:
    """No error proposes to state that it is off."""
    vm = machines.started("unknown")
    machines.hosts[OLD].agent_error = "libvirt on this host does not answer"
    error = machines.refused(f"start host vm {vm}")
    assert f"may still be running on {OLD}, which cannot be asked (host {OLD}: libvirt on this host" in error
    assert f"Repair that and try again, or switch {OLD} off and try again" in error and "force" not in error
    assert "host-off" not in machines.refused(f"stop host vm {vm} force=yes reason=unplugged")
    force = "force=yes host-off=yes reason=unplugged"
    assert f"was taken from {OLD} by force" in machines.run(f"stop host vm {vm} {force}")


def test_by_force_it_moves_and_the_old_domain_is_gone_at_the_first_contact(
    machines: MachineSite, vanished: str
) -> None:
    token = machines.lease(vanished)[0]
    taken = machines.run(f"stop host vm {vanished} force=yes reason='unplugged by hand'")
    assert f"may run twice until {OLD} is reached again" in taken
    assert machines.sql("SELECT Name, Host, Token FROM vm_fences") == [(vanished, OLD, token + 1)]
    machines.run(f"start host vm {vanished}")
    assert machines.lease(vanished) == (token + 1, "running", NEW)
    assert machines.running(vanished) == [OLD, NEW], "it was not off: the message warned of it"
    machines.revive()
    other = machines.add("other")
    machines.run(f"list host vm {other} status=yes")
    assert machines.running(vanished) == [NEW] and machines.state(OLD, vanished) is None
    assert machines.sql("SELECT * FROM vm_fences") == []
    assert (machines.hosts[OLD].state / "leases" / vanished).read_text() == f"{token + 1}\n"


def test_a_fence_that_cannot_be_put_up_stays(machines: MachineSite, vanished: str) -> None:
    machines.run(f"stop host vm {vanished} force=yes reason=x")
    machines.revive()
    machines.hosts[OLD].domains.refusals["destroy"] = "it hangs"
    machines.add("other")
    machines.run("list host vm other status=yes")
    assert len(machines.sql("SELECT * FROM vm_fences")) == 1 and machines.running(vanished) == [OLD]
    machines.run("list host vm other status=yes")
    assert machines.sql("SELECT * FROM vm_fences") == [] and machines.running(vanished) == []


def test_a_host_that_answers_with_an_error_keeps_its_machine(machines: MachineSite) -> None:
    """Until the operator states that the host is off."""
    vm = machines.started("odd")
    machines.hosts[OLD].agent_error = "libvirt does not answer"
    for force in ("", "force=yes reason=x"):
        error = machines.refused(f"stop host vm {vm} {force}")
        assert "cannot be asked" in error and "host-off" not in error
        assert machines.lease(vm)[1:] == ("stopping", OLD)
    printed = machines.run(f"stop host vm {vm} force=yes host-off=yes reason=x")
    assert "was taken from" in printed and machines.lease(vm)[1:] == ("released", None)
    assert machines.sql("SELECT Name, Host FROM vm_fences") == [(vm, OLD)]


def test_a_fence_command_decides_where_there_is_one(
    machines: MachineSite, vanished: str, tmp_path: Path
) -> None:
    command = tmp_path / "fence"
    command.touch(mode=0o600)
    command.write_text('/bin/sh -c "echo no power; exit 3"')
    machines.run(f"set host sec_attr {OLD} vm_fence_command file={command}")
    error = machines.refused(f"stop host vm {vanished} force=yes reason=test")
    assert "could not be fenced" in error and "no power" in error and machines.lease(vanished)[2] == OLD
    command.write_text("/bin/true")
    machines.run(f"set host sec_attr {OLD} vm_fence_command file={command}")
    printed = machines.run(f"stop host vm {vanished} force=yes reason=test")
    assert f"fence command of {OLD} succeeded" in printed
    assert machines.lease(vanished)[1] == "released"


def test_a_domain_that_disagrees_with_the_database_is_not_doubled(machines: MachineSite) -> None:
    vm = machines.started("stray")
    machines.site.change("UPDATE vm_leases SET State = 'released', Host = NULL WHERE Name = 'stray'")
    assert f"stray is running on {OLD} under lease 1, not 2; run `rocks stop host vm" in machines.refused(
        f"start host vm {vm}"
    )
    assert machines.lease(vm)[1] == "starting", "its host reports a domain of the name"
    assert machines.running(vm) == [OLD]
    machines.run(f"stop host vm {vm}")
    assert machines.running(vm) == []


def test_a_stop_at_the_old_place_after_a_take_over(machines: MachineSite, vanished: str) -> None:
    machines.run(f"stop host vm {vanished} force=yes reason=test")
    machines.run(f"set host vm {vanished} physnode={OLD} disk=file:{machines.image('lost.vda')},vda,virtio")
    error = machines.refused(f"stop host vm {vanished} force=yes reason=test")
    assert "holds no lease" in error and "force=yes" not in error
    assert error == machines.refused(f"stop host vm {vanished}")
    machines.revive()
    machines.run(f"stop host vm {vanished}")
    assert machines.running(vanished) == [] and machines.sql("SELECT * FROM vm_fences") == []
    machines.run(f"start host vm {vanished}")
    assert machines.running(vanished) == [OLD]


def listed(machines: MachineSite) -> list[dict[str, str]]:
    groups = json.loads(machines.run("list host vm lease json=yes"))
    return [{"vm-host": group["vm-host"], **row} for group in groups for row in group["lease"]]


def test_a_removed_machine_of_a_dead_host_can_be_taken_over(machines: MachineSite, vanished: str) -> None:
    assert OLD in machines.run(f"remove host {vanished}")
    assert f"rocks stop host vm {vanished}" in machines.refused(f"remove host {OLD}")
    (row,) = listed(machines)
    assert (row["vm-host"], row["host"], row["state"], row["known"]) == (vanished, OLD, "stopping", "no")
    assert "force=yes reason=" in machines.refused(f"stop host vm {vanished}")
    printed = machines.run(f"stop host vm {vanished} force=yes reason='burnt down'")
    assert f"was taken from {OLD} by force" in printed and machines.lease(vanished)[1] == "released"
    (row,) = listed(machines)
    assert (row["vm-host"], row["host"], row["state"]) == (vanished, OLD, "fence")
    machines.refused(f"stop host vm {vanished}")
    machines.revive()
    machines.add("next")
    machines.run("list host vm next status=yes")
    assert machines.running(vanished) == [] and listed(machines) == []


def test_a_removed_machine_is_stopped_where_it_runs(machines: MachineSite, vanished: str) -> None:
    machines.run(f"remove host {vanished}")
    machines.revive()
    machines.run(f"stop host vm {vanished}")
    assert machines.running(vanished) == [] and machines.lease(vanished)[1] == "released"


def test_a_removed_machine_is_stopped_under_any_spelling_of_its_name(machines: MachineSite) -> None:
    """libvirt knows domains by case. One that is not found there has ended, and its lease is released."""
    machines.started("web")
    machines.run("stop host vm web")
    machines.run("set host name web Web")
    machines.run("start host vm Web")
    machines.vanish(OLD)
    machines.run("remove host Web")
    machines.revive()
    (row,) = listed(machines)
    assert row["vm-host"] == "Web", "the domain has this name"
    machines.run("stop host vm WEB")
    assert machines.running("Web") == [] and machines.lease("Web")[1] == "released"


def test_a_removed_machine_keeps_name_and_disk_until_its_host_answers(machines: MachineSite) -> None:
    vm = machines.started("lost")
    machines.vanish(OLD)
    machines.add("thief", OLD, f"disk=file:{machines.image('lost.vda')},vda,virtio")
    assert "Warning (libvirt)" in machines.run(f"remove host {vm}")
    for line in (f"add host vm {NEW} membership=compute name={vm}", f"set host name thief {vm}"):
        error = machines.refused(line)
        assert f"{vm} may still be running on {OLD}" in error and f"rocks stop host vm {vm}" in error
    cluster = f"add cluster 203.0.113.77 0 fe-container={NEW} container-hosts={NEW} fe-name="
    assert f"{vm} may still be running on {OLD}" in machines.refused(f"{cluster}{vm}")
    for line in (f"add host vm {NEW} membership=compute name=other", f"{cluster}other"):
        error = machines.refused(line)
        assert f"{vm} on {OLD} may be running and not in the database" in error, "its VLAN and MAC are in use"
    machines.revive()
    assert "in use by lost" in machines.refused("start host vm thief")
    machines.run(f"stop host vm {vm}")
    assert "belongs to another machine" in machines.refused("start host vm thief")


@pytest.mark.parametrize("host", [HEAD, OLD])
def test_a_disk_that_another_machine_has(machines: MachineSite, host: str) -> None:
    machines.started("lender", host)
    second = machines.add("borrower", host, f"disk=file:{machines.image('lender.vda', host)},vda,virtio")
    assert "is in use by lender" in machines.refused(f"start host vm {second}")
    assert machines.lease(second)[1:] == ("released", None) and machines.running(second) == []
