"""Saved machines: they continue where they stopped, only on their host, and only with unchanged disks."""

import os

import pytest

from rocks.machine.host.libvirt.device_xml import disk_of, text_of
from tests.system.machines.site import NEW, OLD, MachineSite


@pytest.fixture
def saved(machines: MachineSite) -> MachineSite:
    """The machine `g`, saved on the first host."""
    machines.started("g")
    machines.run("save host vm g")
    return machines


def status(machines: MachineSite) -> str:
    return machines.run("list host vm g status=yes output-header=no output-col=status").split()[-1]


def test_only_a_machine_that_runs_is_saved_and_only_a_saved_one_restored(machines: MachineSite) -> None:
    machines.add("g")
    assert "does not run, so there is nothing to save" in machines.refused("save host vm g")
    assert "g is not saved, by its lease it is off" in machines.refused("restore host vm g")
    machines.run("start host vm g")
    assert f"{OLD}: would save the memory of g" in machines.run("save host vm g dry-run=yes")
    assert machines.running("g") == [OLD]
    machines.run("save host vm g")
    machines.run("save host vm g")
    assert (
        status(machines) == "saved"
        and machines.running("g") == []
        and machines.lease("g") == (1, "saved", OLD)
    )
    machines.run("restore host vm g")
    assert machines.running("g") == [OLD] and machines.lease("g") == (1, "running", OLD)
    assert status(machines) == "active"
    machines.run("save host vm g")
    machines.run("start host vm g")
    assert machines.running("g") == [OLD] and machines.lease("g") == (1, "running", OLD)
    fact = machines.hosts[OLD].domains.find("g")
    assert fact is not None and not fact.has_managed_save


def test_a_save_whose_answer_was_lost_is_restored_as_its_messages_say(saved: MachineSite) -> None:
    """Its lease is recorded as running, and its host reports the saved memory."""
    saved.site.change("UPDATE vm_leases SET State = 'running'")
    assert "rocks restore host vm g continues it" in saved.refused("stop host vm g")
    saved.vanish(OLD)
    assert "g is not saved, by its lease it is running" in saved.refused("restore host vm g")
    saved.revive()
    saved.run("restore host vm g")
    assert "start" in saved.hosts[OLD].domains.calls and saved.running("g") == [OLD]
    assert "g is not saved, by its lease it is running" in saved.refused("restore host vm g")


def test_what_would_lose_its_memory_is_refused(saved: MachineSite) -> None:
    for line, message in [
        ("stop host vm g", "saved=remove"),
        ("stop host vm g action=shutdown", "saved=remove"),
        (f"drain host {OLD} to={NEW}", "saved=remove"),
        (f"move host vm g {NEW}", f"is saved on {OLD}"),
        ("pause host vm g", "rocks restore host vm g continues it"),
        ("resume host vm g", "rocks restore host vm g continues it"),
        ("stop host vm g action=reset", "rocks restore host vm g continues it"),
        ("stop host vm g action=reboot", "rocks restore host vm g continues it"),
        ("add host vm disk g disk=file:{images}/b.vda,vdb,virtio", "rocks restore host vm g continues it"),
    ]:
        assert message in saved.refused(line.replace("{images}", str(saved.hosts[OLD].images)))
        assert saved.lease("g") == (1, "saved", OLD) and status(saved) == "saved"


def test_its_disks_are_copied_but_not_restored(saved: MachineSite) -> None:
    assert "is in its saved memory" in saved.run("add host vm snapshot g monday")
    listed = saved.run("list host vm snapshot g output-header=no output-col=consistent")
    assert listed.split()[-1] == "no"
    assert "rocks stop host vm g saved=remove" in saved.refused("restore host vm snapshot g monday")


def test_it_starts_on_its_host_alone(saved: MachineSite) -> None:
    saved.run(f"set host vm g physnode={NEW}")
    assert f"g is saved on {OLD}, and its memory is there alone" in saved.refused("start host vm g")
    assert saved.lease("g") == (1, "saved", OLD)
    saved.run(f"set host vm g physnode={OLD}")
    saved.run("start host vm g")
    assert saved.running("g") == [OLD]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["running", "stopping", "starting"])
def test_a_record_that_a_killed_command_left_is_corrected(saved: MachineSite, state: str) -> None:
    saved.site.change("UPDATE vm_leases SET State = %s WHERE Name = 'g'", [state])
    saved.run(f"set host vm g physnode={NEW}")
    assert f"g is saved on {OLD}" in saved.refused("start host vm g")
    saved.run(f"set host vm g physnode={OLD}")
    saved.run("start host vm g")
    assert saved.running("g") == [OLD] and saved.lease("g") == (1, "running", OLD)


def test_a_disk_that_has_changed_is_refused_and_the_memory_discarded_on_demand(saved: MachineSite) -> None:
    image = saved.image("g.vda")
    before = image.stat()
    saved.write("g.vda", b"other")
    assert "g.vda of g has changed since the machine was saved" in saved.refused("restore host vm g")
    assert status(saved) == "saved" and saved.running("g") == []
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    saved.run("restore host vm g")
    saved.run("save host vm g")
    assert "the saved memory of g is discarded" in saved.run("stop host vm g saved=remove")
    assert saved.lease("g") == (1, "released", None) and status(saved) == "nostate"
    saved.run("start host vm g")
    assert saved.lease("g") == (2, "running", OLD)


def test_a_machine_saved_after_its_guest_has_released_a_disk_late_continues(machines: MachineSite) -> None:
    """And the removal of that disk is completed then."""
    machines.started("g")
    path, domains = machines.image("g.vdb"), machines.hosts[OLD].domains
    machines.run(f"add host vm disk g disk=file:{path},vdb,virtio disksize=1")
    domains.guests_release = False
    assert "released later" in machines.refused("remove host vm disk g vdb")
    domains.guests_release = True
    found = disk_of(domains.document("g"), str(path))
    assert found is not None
    domains.detach("g", text_of(found))
    machines.run("save host vm g")
    printed = machines.run("restore host vm g")
    assert f"g runs without its disk {path}, as it was saved: rocks remove host vm disk g vdb" in printed
    machines.run("remove host vm disk g vdb")
    assert machines.sql("SELECT Path FROM vm_lease_disks") == [(str(machines.image("g.vda")),)]
    assert machines.sql("SELECT Name FROM vm_disks") == [("g.vda",)]


def test_a_saved_machine_with_another_disk_in_its_record_names_both(saved: MachineSite) -> None:
    old, new = saved.image("g.vda"), saved.image("new.vda")
    saved.run(f"set host vm g disk=file:{new},vda,virtio")
    assert f"with {old}, and without {new}; undo" in saved.refused("restore host vm g")
    saved.run(f"set host vm g disk=file:{old},vda,virtio")
    saved.run("restore host vm g")


def test_the_saved_machine_of_a_silent_host_is_taken_only_without_its_memory(saved: MachineSite) -> None:
    saved.vanish(OLD)
    assert "repeat the command with saved=remove" in saved.refused("stop host vm g force=yes reason=x")
    assert saved.lease("g")[1:] == ("saved", OLD)
    saved.run("stop host vm g force=yes reason=x saved=remove")
    assert saved.lease("g")[1:] == ("released", None)
    saved.revive()
    saved.add("other")
    saved.run("list host vm other status=yes")
    assert saved.state(OLD, "g") is None


def test_a_save_that_libvirt_refuses_leaves_the_machine_running(machines: MachineSite) -> None:
    machines.started("g")
    machines.hosts[OLD].domains.refusals["save"] = "no space"
    error = machines.refused("save host vm g")
    assert "no space" in error and OLD in error
    assert machines.running("g") == [OLD] and machines.lease("g") == (1, "running", OLD)
    machines.vanish(OLD)
    assert OLD in machines.refused("save host vm g")
    assert machines.lease("g")[2] == OLD


def test_a_saved_machine_is_removed_with_its_memory(saved: MachineSite) -> None:
    saved.run("remove host vm g")
    assert saved.hosts[OLD].domains.facts() == () and saved.lease("g")[1] == "released"
    assert not list((saved.hosts[OLD].state / "saved").iterdir())


def test_one_command_at_a_time_saves_it(machines: MachineSite) -> None:
    machines.started("g")
    machines.site.database.lock("vm g", 0)
    for line in ("save host vm g", "start host vm g", "stop host vm g"):
        assert "another command is changing g" in machines.refused(line)
    assert machines.running("g") == [OLD] and machines.lease("g") == (1, "running", OLD)
    machines.site.database.unlock("vm g")
    machines.run("save host vm g")
