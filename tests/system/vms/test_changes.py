"""Machines that change while they run: CPUs, memory, disks and interfaces; a guest with a kernel reports them."""

import pytest

from rocks.machine.host.libvirt.domain_xml import mac_of, parse_domain
from tests.system.vms.agents import hurried_agent, replaced_agent
from tests.system.vms.guest import SECONDS, Guest
from tests.system.vms.site import IMAGES, ThreeMachines
from tests.waiting import wait_until

SECOND = f"file:{IMAGES}/g.vdb,vdb,virtio"


@pytest.fixture
def guest(site: ThreeMachines) -> Guest:
    return Guest(site, "g", "vmh1", "mem=192 maxmem=1024 maxcpus=2")


def xml(site: ThreeMachines) -> str:
    return site.virsh("vmh1", "dumpxml", "g").text


def test_a_guest_gets_cpus_memory_and_disks_while_it_runs(guest: Guest) -> None:
    """The guest itself reports them; a disk is detached when the guest has released it."""
    site = guest.site
    error = site.rocks("set host vm g cpus=2 mem=448").error_text
    assert "g has 2 CPUs now" in error and "g has 448 MB of memory now" in error
    guest.type(
        "for f in /sys/devices/system/cpu/cpu*/online; do echo 1 >$f; done; "
        "for f in /sys/devices/system/memory/memory*/state; do echo online >$f; done 2>/dev/null; "
        "echo cpus=$(nproc) MB=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)",
        "cpus=2 MB=3",
    )
    assert "is attached to g as vdb" in site.rocks(f"add host vm disk g disk={SECOND} disksize=2").error_text
    assert site.rocks(f"add host vm disk g disk={SECOND} disksize=2").exit_status == 0
    guest.type(
        "until [ -e /sys/block/vdb/size ]; do usleep 100000; done; echo vdb=$(cat /sys/block/vdb/size)",
        f"vdb={2 * 1000**3 // 512}",
    )
    assert "with 3.0 GB now" in site.rocks("set host vm disk g vdb size=3").error_text
    guest.type(
        f"until [ $(cat /sys/block/vdb/size) = {3 * 1000**3 // 512} ]; do usleep 100000; done; echo grown=yes",
        "grown=yes\n",
    )
    file = site.machines["vmh1"].outside(f"{IMAGES}/g.vdb")
    assert file.stat().st_size == 3 * 1000**3
    assert "only grows" in site.refused("set host vm disk g vdb size=2")
    assert site.sql("SELECT Path FROM vm_lease_disks ORDER BY Path") == [
        [f"{IMAGES}/g.vda"],
        [f"{IMAGES}/g.vdb"],
    ]
    assert f"the image stays: rocks remove host image vmh1 '{IMAGES}/g.vdb'" in (
        repeated(site, "remove host vm disk g vdb")
    )
    assert "g.vdb" not in xml(site) and file.exists()
    assert site.sql("SELECT Path FROM vm_lease_disks") == [[f"{IMAGES}/g.vda"]]
    assert "first disk of g" in site.refused("remove host vm disk g vda")
    change_interfaces(guest)


def repeated(site: ThreeMachines, line: str) -> str:
    """What a command prints, which is repeated until the guest has released a device: it is slow on a busy machine."""
    printed: list[str] = []

    def succeeds() -> bool:
        finished = site.rocks(line)
        printed.append(finished.error_text)
        return finished.exit_status == 0

    wait_until(succeeds, seconds=SECONDS)
    return "".join(printed)


def change_interfaces(guest: Guest) -> None:
    """Attach an interface with its packet filter, where the host has filters; the guest sees it by its address."""
    site = guest.site
    site.done("add host interface g eth1 mac=76:77:6e:80:09:09 subnet=private")
    assert "the interface 76:77:6e:80:09:09 is attached to g" in site.rocks("sync host vm g").error_text
    guest.type(
        "until grep -q 76:77:6e:80:09:09 /sys/class/net/*/address; do usleep 100000; done; echo second=yes",
        "second=yes\n",
    )
    assert "76:77:6e:80:09:09" in xml(site)
    assert site.rocks("sync host vm g").error_text == ""
    site.done("remove host interface g eth1")
    repeated(site, "sync host vm g")
    assert "76:77:6e:80:09:09" not in xml(site)
    assert "76:77:6e:80:09:09" not in site.virsh("vmh1", "dumpxml", "--inactive", "g").text


def test_an_interface_is_attached_while_the_guest_keeps_another(site: ThreeMachines) -> None:
    """The definition has the place of the other one free, the running machine has not."""
    site.add_vm("g", "vmh1")
    site.done("add host interface g eth1 mac=76:77:6e:80:09:01 subnet=private")
    site.done("start host vm g")
    in_use = "has not released its interface 76:77:6e:80:09:01 after 1 s"
    with replaced_agent(site, "vmh1", hurried_agent("change", "RELEASE_SECONDS")):
        site.done("remove host interface g eth1")
        assert in_use in site.rocks("sync host vm g").error_text
        site.done("add host interface g eth2 mac=76:77:6e:80:09:02 subnet=private")
        ended = site.rocks("sync host vm g").error_text
    assert in_use in ended and "libvirt" not in ended
    for options, down in ((), ["76:77:6e:80:09:01"]), (("--inactive",), []):
        document = parse_domain(site.virsh("vmh1", "dumpxml", *options, "g").text)
        assert "76:77:6e:80:09:02" in document.text
        links = document.root.iterfind("devices/interface/link[@state='down']/..")
        assert [mac_of(interface) for interface in links] == down


def test_a_changed_address_is_that_of_the_running_machine(site: ThreeMachines) -> None:
    """Of its allowed senders, and of its filter where the host has filters; a second time, nothing is left to do."""
    site.add_vm("g", "vmh1")
    site.done("add host interface g eth1 mac=76:77:6e:80:09:01 subnet=private")
    site.done("start host vm g")
    assert site.rocks("sync host vm g").error_text == ""
    site.done("set host attr g vm_ipv6 2001:db8::9")
    has_filters = "vm_filter" not in site.done("list attr")
    planned = site.rocks("sync host vm g dry-run=yes").text
    assert ("set the packet filter of g" in planned) == has_filters
    text = site.rocks("sync host vm g").error_text
    assert text == ("the packet filter of g is set anew" if has_filters else "")
    document = parse_domain(site.virsh("vmh1", "dumpxml", "g").text)
    assert document.senders["76:77:6e:80:09:01"].ipv6 == ("2001:db8::9",)
    assert site.rocks("sync host vm g").error_text == ""
