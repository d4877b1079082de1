"""Starting, stopping, pausing and looking at machines, here and by SSH, on real libvirt."""

from __future__ import annotations

import json
import time

import pytest
from lxml import etree

from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines


@pytest.mark.parametrize("host", ["head", "vmh1"])
def test_a_machine_is_started_listed_and_stopped(site: ThreeMachines, host: str) -> None:
    vm = site.add_vm("one", host)
    assert site.done(f"start host vm {vm}") == ""
    assert site.running(vm) == [host]
    assert site.lease(vm)[1:] == ("running", host)
    assert "active" in site.done(f"list host vm {vm} status=yes")
    disk = site.machines[host].outside(IMAGES) / "one.vda"
    assert disk.stat().st_size == 1000**3, "a sparse image of one GB is made where none was"
    assert disk.stat().st_blocks * 512 < 10_000_000

    site.done(f"pause host vm {vm}")
    assert "paused" in site.done(f"list host vm {vm} status=yes")
    assert "resume" in site.refused(f"start host vm {vm}"), "a paused machine is resumed, not started"
    site.done(f"resume host vm {vm}")
    assert "active" in site.done(f"list host vm {vm} status=yes")

    site.done(f"stop host vm {vm}")
    assert site.running(vm) == []
    assert site.domains(host) == []
    assert site.lease(vm)[1:] == ("released", "NULL")
    assert site.done(f"stop host vm {vm}") == "", "a machine that is off is stopped"


def test_machines_on_two_hosts_start_at_once_and_one_failure_is_exit_status_3(site: ThreeMachines) -> None:
    good = [site.add_vm(f"good{number}", host) for number, host in enumerate(HOSTS)]
    bad = site.add_vm("big", "vmh1")
    site.done(f"set host vm {bad} mem=9999999")
    error = site.refused(f"start host vm {' '.join(good)} {bad}", exit_status=3)
    assert "big" in error
    assert "9999999 MB" in error
    assert [site.running(name) for name in good] == [["vmh1"], ["vmh2"]]
    assert site.running(bad) == []
    assert site.lease(bad)[1] == "released"


def test_states_are_asked_of_all_hosts_at_once_and_a_silent_one_is_an_error_state(
    site: ThreeMachines,
) -> None:
    for number, host in enumerate(HOSTS):
        site.add_vm(f"vm{number}", host)
    site.done("start host vm vm0 vm1")
    site.vanish("vmh2")
    begin = time.monotonic()
    rows = json.loads(site.done("list host vm vm0 vm1 status=yes json=yes"))
    assert time.monotonic() - begin < 100
    assert [row["vm"][0]["status"] for row in rows] == ["active", "nostate-error"]


def test_a_machine_is_restarted_in_place(site: ThreeMachines) -> None:
    vm = site.add_vm("again", "vmh1")
    site.done(f"start host vm {vm}")
    site.done(f"stop host vm {vm} action=reset")
    assert site.running(vm) == ["vmh1"]
    assert site.lease(vm)[1:] == ("running", "vmh1")
    note = site.rocks(f"stop host vm {vm} action=shutdown timeout=1")
    assert note.exit_status == 0
    assert "powered off" in note.error_text, "an empty disk does not answer the power button"
    assert site.running(vm) == []


def test_a_removed_machine_is_stopped_and_its_image_stays(site: ThreeMachines) -> None:
    vm = site.add_vm("gone", "vmh1")
    site.done(f"start host vm {vm}")
    removed = site.rocks(f"remove host {vm}")
    assert removed.exit_status == 0
    assert f"vmh1:{IMAGES}/gone.vda stays" in removed.error_text
    assert site.running(vm) == []
    assert (site.machines["vmh1"].outside(IMAGES) / "gone.vda").exists()
    assert "gone" not in site.done("list host")


def test_a_cluster_starts_and_stops_as_one_on_local_vlans(site: ThreeMachines) -> None:
    site.done("set host attr head vlan_transport local")
    site.done(
        "add cluster 203.0.113.9 2 fe-name=tiny cluster-naming=yes fe-container=head container-hosts=head"
        " mem-per-compute=64 disk-per-compute=1 disk-per-frontend=1"
    )
    site.done("set host vm tiny mem=64")
    site.done("set host boot tiny action=install")
    refusal = site.refused("start host vm tiny")
    assert "rocks set host boot tiny action=os" in refusal, (
        "its host has no kernel of the installer: say what to do"
    )
    site.done("set host boot tiny action=os")
    site.done(f"add host interface head {site.bridges['public']} subnet=public ip=203.0.113.1")
    site.done("start cluster tiny")
    assert {name: site.running(name) for name in ("tiny", "vm-tiny-0", "vm-tiny-1")} == {
        "tiny": ["head"],
        "vm-tiny-0": ["head"],
        "vm-tiny-1": ["head"],
    }
    assert site.done("list cluster tiny status=yes").count("active") == 3
    site.done("start cluster tiny")
    assert "already running" in site.refused("start host vm tiny")
    bridge = f"{site.bridges['head']}.2"
    assert bridge in site.virsh("head", "dumpxml", "vm-tiny-0").text
    site.done("stop cluster tiny")
    assert site.domains("head") == []
    site.done("remove cluster tiny")
    assert "tiny" not in site.done("list host")
    site.done(f"remove host interface head {site.bridges['public']}")
    site.done("remove host attr head vlan_transport")


@pytest.mark.parametrize("title", ["list host vm", "list cluster"])
def test_an_ordinary_user_learns_why_the_states_are_unknown(site: ThreeMachines, title: str) -> None:
    site.add_vm("one", "vmh1")
    assert site.begin(f"{title} status=yes", user="65534").end() == (
        0,
        "Warning: the states are unknown, because only root can ask the hosts: "
        f"sudo rocks {title} status=yes\n",
    )


def test_a_machine_moved_while_it_runs_is_removed_where_it_runs(site: ThreeMachines) -> None:
    """`physnode=` names another host since: the image is found, and removed, where it is."""
    for parameter, outcome in (("", "stays"), (" disks=remove", "is removed")):
        vm = site.add_vm("moved", "vmh1")
        site.done(f"start host vm {vm}")
        site.done(f"set host vm {vm} physnode=vmh2")
        error = site.rocks(f"remove host vm {vm}{parameter}").error_text
        assert site.running(vm) == []
        assert f"the disk image vmh1:{IMAGES}/{vm}.vda {outcome}" in error
        assert "vmh2:" not in error
        site.done(f"remove host {vm}")
        (site.machines["vmh1"].outside(IMAGES) / f"{vm}.vda").unlink(missing_ok=True)


@pytest.mark.parametrize("host", ["head", "vmh1"])
def test_the_reported_document_is_the_one_that_libvirt_gets(site: ThreeMachines, host: str) -> None:
    """These hosts have no KVM; an ordinary user cannot ask them."""
    vm = site.add_vm("one", host)
    reported = etree.fromstring(site.done(f"report host vm config {vm}"))
    recorded = etree.fromstring(site.done(f"report host vm config {vm} adapted=no"))
    site.done(f"start host vm {vm}")
    defined = etree.fromstring(site.virsh(host, "dumpxml", "--inactive", vm).text)
    assert [document.get("type") for document in (recorded, reported, defined)] == ["kvm", "qemu", "qemu"]
    assert [document.find("cpu").get("mode") for document in (reported, defined)] == ["maximum"] * 2
    assert site.begin(f"report host vm config {vm}", user="65534").end() == (
        0,
        "Warning: the XML is the one in the database, for KVM and with Debian's emulator, because only root can ask "
        "the hosts: run this as root\n",
    )
