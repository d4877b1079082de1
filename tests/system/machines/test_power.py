"""Starts, stops, pauses and restarts: the domain on its host, the lease in the database, the disk, and the messages."""

import json

import pytest
from lxml import etree

from tests.system.machines.site import HEAD, NEW, OLD, MachineSite


@pytest.mark.parametrize("host", [HEAD, OLD])
def test_a_machine_is_started_paused_resumed_and_stopped(machines: MachineSite, host: str) -> None:
    vm = machines.add("one", host)
    assert machines.rocks(f"start host vm {vm}")[:2] == (0, "")
    assert machines.running(vm) == [host] and machines.lease(vm) == (1, "running", host)
    assert "active" in machines.run(f"list host vm {vm} status=yes")
    assert machines.image("one.vda", host).stat().st_size == 1000**3
    assert machines.image("one.vda", host).stat().st_blocks == 0
    assert f"The host {vm} is already running." in machines.refused(f"start host vm {vm}")
    machines.run(f"pause host vm {vm}")
    assert "paused" in machines.run(f"list host vm {vm} status=yes")
    machines.run(f"pause host vm {vm}")
    assert "resume" in machines.refused(f"start host vm {vm}")
    machines.run(f"resume host vm {vm}")
    assert machines.state(host, vm) == "running"
    machines.run(f"stop host vm {vm}")
    assert machines.hosts[host].domains.facts() == () and machines.lease(vm) == (1, "released", None)
    assert machines.rocks(f"stop host vm {vm}")[:2] == (0, ""), "a machine that is off is stopped"
    assert machines.files(host) == ["one.vda"], "the image stays"
    machines.run(f"start host vm {vm}")
    assert machines.lease(vm) == (2, "running", host)


def test_a_start_or_stop_prints_the_states_that_it_left(machines: MachineSite) -> None:
    vm = machines.add("one", OLD)

    def state(line: str, status: int, error: object = None) -> tuple[str, str]:
        ended = machines.rocks(f"{line} json=yes")
        (found,) = json.loads(ended.out)
        assert (ended.status, found["vm-host"], found.get("error")) == (status, vm, error)
        return found["vm"][0]["host"], found["vm"][0]["status"]

    assert state(f"start host vm {vm}", 0) == (OLD, "active")
    refused = {"family": "state", "code": ""}
    assert state(f"start host vm {vm}", 1, refused) == (OLD, "active"), "also when it is refused"
    assert state(f"stop host vm {vm} action=reset", 0) == (OLD, "active")
    assert state(f"stop host vm {vm}", 0) == (OLD, "nostate")
    assert machines.run(f"start host vm {vm} dry-run=yes json=yes").count("vm-host") == 0
    machines.run(f"set host vm {vm} mem=1000000")
    full = {"family": "state", "code": "host_full"}
    assert state(f"start host vm {vm}", 1, full) == (OLD, "nostate")
    other = machines.add("two", OLD)
    some = json.loads(machines.rocks(f"start host vm {vm} {other} json=yes").out)
    assert [one.get("error") for one in some] == [full, None], "each machine has its own"


def test_two_hosts_at_once_and_one_failure_is_exit_status_3(machines: MachineSite) -> None:
    good = [machines.add("good0", OLD), machines.add("good1", NEW)]
    bad = machines.add("big", OLD)
    machines.run(f"set host vm {bad} mem=9999999")
    error = machines.refused(f"start host vm {' '.join(good)} {bad}", status=3)
    assert "Error: big is not started" in error and "9999999 MB" in error and "Error: good" not in error
    assert [machines.running(name) for name in good] == [[OLD], [NEW]]
    assert machines.running(bad) == [] and machines.lease(bad)[1] == "released"
    machines.vanish(NEW)
    error = machines.refused(f"stop host vm {' '.join(good)}", status=3)
    assert f"good1 is not known to be stopped: its host {NEW} does not answer" in error
    assert machines.running("good0") == [] and machines.lease("good1")[1:] == ("stopping", NEW)
    listed = json.loads(machines.rocks("list host vm status=yes json=yes").out)
    states = {row["vm-host"]: row["vm"][0]["status"] for row in listed}
    assert states == {"good0": "nostate", "good1": "nostate-error", "big": "nostate"}


@pytest.mark.slow
@pytest.mark.parametrize(("action", "call"), [("reset", "reset"), ("reboot", "reboot")])
def test_a_restart_keeps_domain_and_lease(machines: MachineSite, action: str, call: str) -> None:
    vm = machines.started("again")
    lease, domains = machines.lease(vm), machines.hosts[OLD].domains
    domains.calls.clear()
    machines.run(f"stop host vm {vm} action={action}")
    assert domains.calls == [call]
    assert machines.running(vm) == [OLD] and machines.lease(vm) == lease
    machines.run(f"stop host vm {vm}")
    assert "not running" in machines.refused(f"stop host vm {vm} action={action}")


def test_a_guest_that_its_disk_stopped_is_resumed(machines: MachineSite) -> None:
    vm = machines.started("stuck")
    machines.hosts[OLD].domains.fail_disk(vm)
    assert "it is paused; rocks resume host vm stuck" in machines.refused(f"stop host vm {vm} action=reset")
    machines.run(f"resume host vm {vm}")
    assert machines.state(OLD, vm) == "running"


@pytest.mark.slow
@pytest.mark.parametrize(("obeys", "seconds"), [(True, 9), (False, 0)])
def test_a_shutdown_asks_the_guest(machines: MachineSite, obeys: bool, seconds: int) -> None:
    vm = machines.started("polite")
    domains = machines.hosts[OLD].domains
    domains.guests_obey = obeys
    printed = machines.run(f"stop host vm {vm} action=shutdown timeout={seconds}")
    assert ("press_power_button" in domains.calls) == obeys
    assert ("did not shut down within 0 s and was powered off" in printed) == (not obeys)
    assert machines.running(vm) == [] and machines.lease(vm)[1:] == ("released", None)
    machines.run(f"start host vm {vm}")
    machines.run(f"pause host vm {vm}")
    assert "its guest cannot shut down; resume it" in machines.refused(f"stop host vm {vm} action=shutdown")
    assert machines.state(OLD, vm) == "paused" and machines.lease(vm)[1:] == ("running", OLD)


def test_what_libvirt_refuses_is_reported_with_its_host_and_undone(machines: MachineSite) -> None:
    vm = machines.add("refused")
    machines.hosts[OLD].domains.refusals["start"] = "no emulator"
    error = machines.refused(f"start host vm {vm}")
    assert f"{OLD}: " in error and "no emulator" in error
    assert machines.lease(vm)[1:] == ("released", None) and machines.running(vm) == []
    machines.run(f"start host vm {vm}")
    machines.hosts[OLD].domains.refusals["destroy"] = "it hangs"
    assert "it hangs" in machines.refused(f"stop host vm {vm}")
    assert machines.lease(vm)[1:] == ("running", OLD)
    machines.run(f"stop host vm {vm}")


def test_pauses_and_resumes_of_many(machines: MachineSite) -> None:
    here, there = machines.started("here", OLD), machines.started("there", NEW)
    off = machines.add("off", OLD)
    error = machines.refused(f"pause host vm {here} {there} {off}", status=3)
    assert "off" in error and [machines.state(OLD, here), machines.state(NEW, there)] == ["paused", "paused"]
    machines.vanish(NEW)
    error = machines.refused(f"resume host vm {here} {there}", status=3)
    assert f"cannot reach host {NEW}" in error
    assert [machines.state(OLD, here), machines.state(NEW, there)] == ["running", "paused"]


def test_the_list_names_what_is_set_and_what_runs(machines: MachineSite) -> None:
    vm = machines.add("both")
    (off,) = json.loads(machines.run(f"list host vm {vm} status=yes json=yes"))
    assert (off["vm"][0]["status"], off["vm"][0]["state"], off["vm"][0]["running-mem"]) == (
        "nostate",
        "off",
        None,
    )
    machines.run(f"start host vm {vm}")
    assert "runs:" not in machines.run(f"list host vm {vm} status=yes showdisks=yes")
    other = machines.image("other.vda")
    machines.run(f"set host vm {vm} mem=96 disk=file:{other},vda,virtio")
    machines.run(f"set host cpus {vm} 2")
    listed = machines.run(f"list host vm {vm} status=yes showdisks=yes")
    assert "96(runs:64)" in listed and "2(runs:1)" in listed
    assert f"file:{other},vda,virtio(runs:{machines.image('both.vda')})" in listed
    (found,) = json.loads(machines.run(f"list host vm {vm} status=yes json=yes"))
    row = found["vm"][0]
    assert (row["mem"], row["running-mem"], row["cpus"], row["running-cpus"]) == (96, 64, 2, 1)
    assert row["running-disks"] == [str(machines.image("both.vda"))]


def test_a_running_machine_that_is_placed_elsewhere_is_named_where_it_runs(machines: MachineSite) -> None:
    vm = machines.started("placed")
    assert "may be running" not in machines.run(f"set host vm {vm} physnode={OLD}")
    warned = machines.run(f"set host vm {vm} physnode={NEW}")
    assert f"placed may be running on {OLD}, which holds its lease; it can start on {NEW} only" in warned
    assert f"{NEW}(runs:{OLD})" in machines.run(f"list host vm {vm}")
    (found,) = json.loads(machines.run(f"list host vm {vm} status=yes json=yes"))
    assert (found["vm"][0]["host"], found["vm"][0]["running-host"]) == (NEW, OLD)
    machines.run(f"stop host vm {vm}")
    assert "runs:" not in machines.run(f"list host vm {vm} status=yes")


def test_the_reported_document_is_the_one_that_libvirt_gets(machines: MachineSite) -> None:
    vm = machines.add("one")
    reported = etree.fromstring(machines.run(f"report host vm config {vm}").encode())
    recorded = etree.fromstring(machines.run(f"report host vm config {vm} adapted=no").encode())
    started = machines.run(f"start host vm {vm}")
    assert "KVM does not work on this host" in started or started == ""
    defined = machines.hosts[OLD].domains.document(vm).root
    assert [document.get("type") for document in (recorded, reported, defined)] == ["kvm", "qemu", "qemu"]
    assert [document.find("cpu").get("mode") for document in (reported, defined)] == ["maximum"] * 2
    assert defined.findtext("uuid") == machines.uuid(vm)
    machines.run(f"stop host vm {vm}")
    machines.run(f"start host vm {vm}")
    assert machines.hosts[OLD].domains.document(vm).root.findtext("uuid") == machines.uuid(vm)


def test_a_guest_that_is_paused_when_its_host_is_asked_to_stop_ends(machines: MachineSite) -> None:
    vm = machines.started("held")
    machines.run(f"pause host vm {vm}")
    machines.run(f"stop host vm {vm}")
    assert machines.running(vm) == [] and machines.lease(vm)[1] == "released"


def test_autostart_and_lease_are_with_the_domain(machines: MachineSite) -> None:
    vm = machines.started("auto")
    fact = machines.hosts[OLD].domains.find(vm)
    assert fact is not None and (fact.token, fact.memory_mb, fact.cpus) == (1, 64, 1)
    assert (machines.hosts[OLD].state / "leases/auto").read_text() == "1\n"
    machines.run(f"stop host vm {vm}")
    assert (machines.hosts[OLD].state / "leases/auto").read_text() == "2\n", "an older start is late"
