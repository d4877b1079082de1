"""A machine runs at most once: two starters, two hosts, a host that vanished and comes back (decision 3)."""

from __future__ import annotations

import json

import pytest

from tests.system.vms.site import IMAGES, ThreeMachines, wait_until


def test_two_starts_at_the_same_moment_give_one_domain(site: ThreeMachines) -> None:
    vm = site.add_vm("contested", "vmh1")
    both = [site.begin(f"start host vm {vm}") for _ in range(2)]
    ends = [one.end() for one in both]
    assert sorted(status for status, _ in ends) == [0, 1], ends
    (error,) = [text for status, text in ends if status == 1]
    assert "already running" in error or "another command is changing contested" in error
    assert site.running(vm) == ["vmh1"]
    assert site.virsh("vmh1", "list", "--name").text.split() == [vm]


def test_two_starts_at_the_same_moment_on_two_hosts_give_one_domain(site: ThreeMachines) -> None:
    vm = site.add_vm("wanted", "vmh1")
    first = site.begin(f"start host vm {vm}")
    # while the start has the machine to itself, it is refused
    wait_until(lambda: site.rocks(f"set host vm {vm} physnode=vmh2").exit_status == 0, 120)
    second = site.begin(f"start host vm {vm}")
    ends = [first.end(), second.end()]
    assert [status for status, _ in ends].count(0) <= 1, ends
    assert len(site.running(vm)) <= 1
    assert site.running(vm) == [site.lease(vm)[2]] if site.running(vm) else site.lease(vm)[1] == "released"


def test_a_machine_moves_to_another_host_only_when_it_is_gone_from_the_first(site: ThreeMachines) -> None:
    vm = site.add_vm("mover", "vmh1")
    site.done(f"start host vm {vm}")
    site.done(f"set host vm {vm} physnode=vmh2")
    assert "active" in site.done(f"list host vm {vm} status=yes"), (
        "its state is asked of the host that it runs on"
    )
    error = site.refused(f"start host vm {vm}")
    assert "already running on vmh1" in error
    assert f"rocks stop host vm {vm}" in error
    assert site.running(vm) == ["vmh1"]
    site.done(f"stop host vm {vm}")
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh2"]


def test_a_guest_that_ended_by_itself_frees_the_lease_at_the_next_start(site: ThreeMachines) -> None:
    vm = site.add_vm("ended", "vmh1")
    site.done(f"start host vm {vm}")
    token = site.lease(vm)[0]
    assert site.virsh("vmh1", "destroy", vm).exit_status == 0
    site.done(f"set host vm {vm} physnode=vmh2")
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh2"]
    assert site.lease(vm) == (token + 1, "running", "vmh2")


@pytest.fixture
def vanished(site: ThreeMachines) -> str:
    """A machine that runs on vmh1, which does not answer any more; it is to start on vmh2 from now on."""
    vm = site.add_vm("lost", "vmh1", "disk=file:/var/lib/rocks-images/lost-disk,vda,virtio")
    site.done(f"start host vm {vm}")
    site.vanish("vmh1")
    site.done(f"set host vm {vm} physnode=vmh2")
    return vm


def test_a_vanished_host_keeps_its_machine(site: ThreeMachines, vanished: str) -> None:
    error = site.refused(f"start host vm {vanished}")
    assert "may still be running on vmh1, which does not answer" in error
    assert "force=yes reason=" in error
    assert site.running(vanished) == ["vmh1"]
    assert site.lease(vanished)[1:] == ("running", "vmh1")
    assert "does not answer" in site.refused(f"stop host vm {vanished}")
    assert "reason" in site.refused(f"stop host vm {vanished} force=yes")


def test_by_force_it_moves_and_the_old_domain_is_gone_at_the_first_contact(
    site: ThreeMachines, vanished: str
) -> None:
    token = site.lease(vanished)[0]
    taken = site.rocks(f"stop host vm {vanished} force=yes reason='unplugged by hand'")
    assert taken.exit_status == 0, taken.error_text
    assert "may run twice until vmh1 is reached again" in taken.error_text
    site.done(f"start host vm {vanished}")
    assert site.lease(vanished) == (token + 1, "running", "vmh2")
    assert site.running(vanished) == ["vmh1", "vmh2"], "vmh1 was not off: the message warned of it"

    site.revive()
    other = site.add_vm("other", "vmh1")
    site.done(f"list host vm {other} status=yes")
    assert site.running(vanished) == ["vmh2"]
    assert vanished not in site.domains("vmh1")
    assert site.sql("SELECT * FROM vm_fences") == []


def test_the_host_itself_refuses_a_domain_of_an_older_lease(site: ThreeMachines, vanished: str) -> None:
    xml = site.virsh("vmh1", "dumpxml", vanished).text
    site.done(f"stop host vm {vanished} force=yes reason=test")
    site.revive()
    site.add_vm("other", "vmh1")
    site.done("list host vm other status=yes")
    saved = site.machines["vmh1"].outside(IMAGES) / "old.xml"
    saved.write_text(xml)
    refusal = site.virsh("vmh1", "create", f"{IMAGES}/old.xml")
    assert refusal.exit_status != 0
    assert "has seen lease" in refusal.error_text
    assert site.running(vanished) == []


def test_a_removed_machine_keeps_name_and_disk_until_its_host_answers(
    site: ThreeMachines, vanished: str
) -> None:
    site.add_vm("thief", "vmh1", "disk=file:/var/lib/rocks-images/lost-disk,vda,virtio")
    removed = site.rocks(f"remove host {vanished}")
    assert removed.exit_status == 0
    assert "Warning (libvirt)" in removed.error_text
    assert site.running(vanished) == ["vmh1"]
    cluster = f"add cluster 203.0.113.77 0 fe-container=vmh2 container-hosts=vmh2 fe-name={vanished}"
    new_machine = f"add host vm vmh2 membership=compute name={vanished}"
    for command in (new_machine, cluster, f"set host name thief {vanished}"):
        error = site.refused(command)
        assert f"{vanished} may still be running on vmh1" in error, command
        assert f"rocks stop host vm {vanished}" in error, command
    for command in (new_machine.replace(vanished, "other"), cluster.replace(vanished, "other")):
        error = site.refused(command)
        assert f"{vanished} on vmh1 may be running and not in the database" in error, (
            "its VLAN and MAC are in use"
        )
    site.revive()
    error = site.refused("start host vm thief")
    assert "in use by lost" in error, "same disk"
    site.done(f"stop host vm {vanished}")
    assert site.running(vanished) == []
    assert "belongs to another machine" in site.refused("start host vm thief"), "also when it has stopped"


def test_a_fence_command_decides_where_there_is_one(site: ThreeMachines, vanished: str) -> None:
    command = site.machines["head"].outside("/opt/rocks/fence")
    command.touch(mode=0o600)
    command.write_text('/bin/sh -c "echo no power; exit 3"')
    site.done("set host sec_attr vmh1 vm_fence_command file=/opt/rocks/fence")
    try:
        error = site.refused(f"stop host vm {vanished} force=yes reason=test")
        assert "could not be fenced" in error
        assert "no power" in error
        assert site.lease(vanished)[2] == "vmh1"
        command.write_text("/bin/true")
        site.done("set host sec_attr vmh1 vm_fence_command file=/opt/rocks/fence")
        assert (
            "fence command of vmh1 succeeded"
            in site.rocks(f"stop host vm {vanished} force=yes reason=test").error_text
        )
        assert site.lease(vanished)[1] == "released"
    finally:
        site.done("remove host sec_attr vmh1 vm_fence_command")


def test_a_domain_that_disagrees_with_the_database_is_not_doubled(site: ThreeMachines) -> None:
    vm = site.add_vm("stray", "vmh1")
    site.done(f"start host vm {vm}")
    site.sql("UPDATE vm_leases SET State = 'released', Host = NULL WHERE Name = 'stray'")
    assert "already running" in site.refused(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]
    site.done(f"stop host vm {vm}")
    wait_until(lambda: site.running(vm) == [])


def test_a_stop_at_the_old_place_after_a_take_over(site: ThreeMachines, vanished: str) -> None:
    """The fence is up there, the lease is released: the machine is off, and the stop says no more than that."""
    site.done(f"stop host vm {vanished} force=yes reason=test")
    site.done(f"set host vm {vanished} physnode=vmh1")
    error = site.refused(f"stop host vm {vanished} force=yes reason=test")
    assert "holds no lease" in error
    assert "force=yes" not in error
    assert error == site.refused(f"stop host vm {vanished}")
    site.revive()
    site.done(f"stop host vm {vanished}")
    assert site.running(vanished) == []
    assert site.sql("SELECT * FROM vm_fences") == []
    site.done(f"stop host vm {vanished}")
    site.done(f"start host vm {vanished}")
    assert site.running(vanished) == ["vmh1"]


def listed(site: ThreeMachines) -> list[dict[str, str]]:
    groups = json.loads(site.done("list host vm lease json=yes"))
    return [{"vm-host": group["vm-host"], **row} for group in groups for row in group["lease"]]


def test_a_removed_machine_of_a_dead_host_can_be_taken_over(site: ThreeMachines, vanished: str) -> None:
    """Its name, its disk and its host are free afterwards."""
    assert "vmh1" in site.rocks(f"remove host {vanished}").error_text
    assert f"rocks stop host vm {vanished}" in site.refused("remove host vmh1")
    (row,) = listed(site)
    assert (row["vm-host"], row["host"], row["state"], row["known"]) == (vanished, "vmh1", "stopping", "no")
    assert "force=yes reason=" in site.refused(f"stop host vm {vanished}")
    assert "was taken from vmh1 by force" in (
        site.rocks(f"stop host vm {vanished} force=yes reason='burnt down'").error_text
    )
    assert site.lease(vanished)[1] == "released"
    (row,) = listed(site)
    assert (row["vm-host"], row["host"], row["state"]) == (vanished, "vmh1", "fence")
    site.refused(f"stop host vm {vanished}")  # neither a machine nor a lease
    site.revive()
    site.add_vm("next", "vmh1", "disk=file:/var/lib/rocks-images/lost-disk,vda,virtio")
    site.done("list host vm next status=yes")
    assert site.running(vanished) == []
    assert listed(site) == []


def test_a_removed_machine_is_stopped_where_it_runs(site: ThreeMachines, vanished: str) -> None:
    """By its name, when the host answers again."""
    site.rocks(f"remove host {vanished}")
    site.revive()
    site.done(f"stop host vm {vanished}")
    assert site.running(vanished) == []
    assert site.lease(vanished)[1] == "released"
