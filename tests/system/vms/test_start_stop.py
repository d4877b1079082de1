"""Starting, stopping, pausing and looking at machines, here and by SSH, on real libvirt."""

from __future__ import annotations

import pytest

from tests.system.vms.site import IMAGES, ThreeMachines


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


def test_an_ordinary_user_learns_what_only_root_can_ask(site: ThreeMachines) -> None:
    site.add_vm("one", "vmh1")
    for title in ("list host vm", "list cluster"):
        assert site.begin(f"{title} status=yes", user="65534").end() == (
            0,
            "Warning: the states are unknown, because only root can ask the hosts: "
            f"sudo rocks {title} status=yes\n",
        )
    assert site.begin("report host vm config one", user="65534").end() == (
        0,
        "Warning: the XML is the one in the database, for KVM and with Debian's emulator, because only root can ask "
        "the hosts: run this as root\n",
    )


@pytest.mark.parametrize(("parameter", "outcome"), [("", "stays"), ("disks=remove", "is removed")])
def test_a_machine_moved_while_it_runs_is_removed_where_it_runs(
    site: ThreeMachines, parameter: str, outcome: str
) -> None:
    """`physnode=` names another host since: the image is found, and removed, where it is."""
    vm = site.started("moved", "vmh1")
    site.done(f"set host vm {vm} physnode=vmh2")
    error = site.rocks(f"remove host vm {vm} {parameter}").error_text
    assert site.running(vm) == [] and "vmh2:" not in error
    assert f"the disk image vmh1:{IMAGES}/{vm}.vda {outcome}" in error
    site.done(f"remove host {vm}")
