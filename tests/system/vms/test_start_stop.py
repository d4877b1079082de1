"""Machines and clusters start and stop on real hosts; starts that cannot be; a guest that ends by itself."""

import re
from collections.abc import Iterator

import pytest

from rocks.machine.host.facts import read_machine
from tests.system.vms.agents import REAL_AGENT, replaced_agent
from tests.system.vms.site import IMAGES, ThreeMachines
from tests.waiting import wait_until


def test_a_machine_is_started_listed_and_stopped(site: ThreeMachines) -> None:
    """On a host reached by SSH; on this machine itself, the cluster below."""
    host = "vmh1"
    vm = site.add_vm("one", host)
    assert site.done(f"start host vm {vm}") == ""
    assert site.running(vm) == [host]
    assert site.lease(vm)[1:] == ("running", host)
    assert "active" in site.done(f"list host vm {vm} status=yes")
    assert re.search(rf"^{host}: .* debian 1[23] +\d+\.\d+\.\d+$", site.done("list host status=yes"), re.M)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_agent_that_dies_leaves_a_start_that_can_be_finished(site: ThreeMachines) -> None:
    vm = site.add_vm("orphan", "vmh1")
    dying = (
        f'#!/bin/sh\n[ "$1" != hook ] || exec {REAL_AGENT} "$@"\n'
        "while read -r line; do\ncase $line in *perform*) kill -9 $$ ;; esac\n"
        f"printf '%s\\n' \"$line\" | {REAL_AGENT}\ndone\n"
    )
    with replaced_agent(site, "vmh1", dying):
        assert "vmh1" in site.refused(f"start host vm {vm}")
        assert site.lease(vm)[1:] == ("starting", "vmh1"), "no host has reported that it does not run"
    site.done(f"start host vm {vm}")
    assert site.running(vm) == ["vmh1"]


def test_an_ordinary_user_learns_what_only_root_can_ask(site: ThreeMachines) -> None:
    site.add_vm("one", "vmh1")
    for title in ("list host vm", "list cluster"):
        assert site.begin(f"{title} status=yes", user="65534").end() == (
            0,
            "Warning: the states are unknown, because only root can ask the hosts: "
            f"sudo rocks {title} status=yes\n",
        )
    for title in ("list host image", "list host vm snapshot"):
        status, printed = site.begin(title, user="65534").end()
        assert status == 1 and f"only root can ask the hosts: sudo rocks {title}\n" in printed
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


def _start_error(site: ThreeMachines, vm: str) -> str:
    before = site.sql(f"SELECT State, Host FROM vm_leases WHERE Name = '{vm}'")
    error = site.refused(f"start host vm {vm}")
    assert "\n" not in error, "one line"
    assert site.running(vm) == []
    assert site.sql(f"SELECT State, Host FROM vm_leases WHERE Name = '{vm}'") in (
        before,
        [["released", "NULL"]],
    )
    return error


def test_little_space_on_the_file_system(site: ThreeMachines) -> None:
    vm = site.add_vm("tight", "vmh1", "disk=file:/opt/rocks/small/tight.vda,vda,virtio")
    machine = site.machines["vmh1"]
    small = machine.outside("/opt/rocks") / "small"
    small.mkdir()
    machine.run_checked(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=900m", "none", "/opt/rocks/small"], 10)
    try:
        assert "larger than its file system of 0.9 GB" in _start_error(site, vm)
        machine.run_checked(["/usr/bin/mount", "-o", "remount,size=1900m", "/opt/rocks/small"], 10)
        machine.run_checked(["/usr/bin/fallocate", "-l", "1G", "/opt/rocks/small/filler"], 10)
        error = _start_error(site, vm)
        assert "iB free; the minimum is 1.0 GiB" in error
    finally:
        machine.run_checked(["/usr/bin/umount", "/opt/rocks/small"], 10)
        small.rmdir()


def test_libvirt_rejects_a_device_that_it_does_not_know(site: ThreeMachines) -> None:
    vm = site.add_vm("odd", "vmh1")
    site.done(f"set host attr {vm} kvm_device_0 '<nonsense/>'")
    error = _start_error(site, vm)
    assert "libvirt" in error, "well-formed, but no device: libvirt's schema says so"


PAIRS = 6


@pytest.fixture
def small_host(site: ThreeMachines) -> Iterator[str]:
    """A host with memory for one machine of 64 MB."""
    site.done(f"set host attr vmh1 vm_memory_reserve {read_machine().memory_mb - 100}")
    yield "vmh1"
    site.done("remove host attr vmh1 vm_memory_reserve")


def test_of_two_parallel_starts_exactly_one_gets_the_memory(site: ThreeMachines, small_host: str) -> None:
    """Each command sees an empty host when it plans; the host decides."""
    names = [site.add_vm("first", small_host), site.add_vm("second", small_host)]
    for _ in range(PAIRS):
        error = site.start_at_once(names)
        assert "it needs 64 MB of memory, and" in error
        assert "36 MB left of 100 MB for virtual machines" in error
        assert sum(bool(site.running(name)) for name in names) == 1
        states = sorted(site.lease(name)[1] for name in names)
        assert states == ["released", "running"]
        site.done("stop host vm " + " ".join(names))


def test_the_end_of_a_guest_is_noted_with_its_lease(site: ThreeMachines) -> None:
    """What the frontend does with the note: tests/system/machines/test_recovery.py."""
    folder = site.machines["vmh1"].outside("/var/lib/rocks/ended")
    folder.mkdir(exist_ok=True)
    vm = site.started("one", "vmh1")
    assert list(folder.iterdir()) == []
    site.virsh("vmh1", "destroy", vm)
    wait_until((folder / vm).exists)
    assert (folder / vm).read_text() == str(site.lease(vm)[0])
    (folder / vm).unlink()
    folder.rmdir()
