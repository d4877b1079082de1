"""Machines with cores, huge pages and devices of their own, on real libvirt and QEMU; what is refused."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from rocks.fleet.wire.facts import ShapeQuestion
from rocks.machine.host.facts import read_shape
from rocks.machine.placement import read_cpu_set, write_cpu_set
from tests.system.vms.site import ThreeMachines

HOST = "vmh1"
TABLES = ("vm_core_leases", "vm_page_leases", "vm_device_leases")
PAIRS = 3


def leases(site: ThreeMachines) -> list[list[str]]:
    return [row for table in TABLES for row in site.sql(f"SELECT * FROM {table} ORDER BY 1, 2")]


@pytest.fixture
def core(site: ThreeMachines) -> Iterator[tuple[int, ...]]:
    """The CPUs of the only core that the host lends to pinned machines: its last one."""
    last = [core for node in read_shape(ShapeQuestion()).nodes for core in node.cores][-1]
    site.done(f"set host attr {HOST} vm_pinned_cpus {write_cpu_set(last)}")
    yield last
    for attribute in ("vm_pinned_cpus", "vm_pci_pools"):
        site.rocks(f"remove host attr {HOST} {attribute}")
    site.clean()
    assert leases(site) == []


def add(site: ThreeMachines, name: str, **attributes: str) -> str:
    """A machine on the host with these attributes, one CPU, and a name that no other test has."""
    site.add_vm(name, HOST)
    for attribute, value in attributes.items():
        site.done(f'set host attr {name} {attribute} "{value}"')
    return name


def threads(site: ThreeMachines, name: str) -> dict[str, str]:
    """Name of each thread of the guest's QEMU → the CPUs that the kernel lets it run on."""
    pid = site.machines[HOST].outside(f"/run/libvirt/qemu/{name}.pid").read_text().strip()
    script = "cat /proc/$0/task/*/status"
    text = site.machines[HOST].run_checked(["/bin/sh", "-c", script, pid], 10).text
    return dict(re.findall(r"^Name:\t(.*)$(?:.|\n)*?^Cpus_allowed_list:\t(.*)$", text, re.MULTILINE))


def test_a_pinned_machine_has_its_core_and_what_was_asked(site: ThreeMachines, core: tuple[int, ...]) -> None:
    name = add(
        site, "pinned", kvm_cpu_pinning="numa", kvm_watchdog="reset", kvm_discard="yes", kvm_queues="2"
    )
    site.done(f"start host vm {name}")
    document = ElementTree.fromstring(site.virsh(HOST, "dumpxml", name).text)
    assert document.find("cputune/vcpupin[@vcpu='0']").get("cpuset") == str(core[0])
    assert document.find("cpu").get("mode") == "maximum"
    counts = {"sockets": "1", "dies": "1", "cores": "1", "threads": "1"}
    assert document.find("cpu/topology").attrib == counts
    assert document.findtext("iothreads") == "1"
    driver = document.find("devices/disk[@device='disk']/driver").attrib
    assert (driver["queues"], driver["iothread"], driver["discard"]) == ("2", "1", "unmap")
    assert document.find("devices/interface/driver").get("queues") == "2"
    assert document.find("devices/watchdog").get("action") == "reset"
    assert document.find("devices/rng/backend").text == "/dev/urandom"
    assert document.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
    allowed = threads(site, name)
    assert allowed["CPU 0/TCG"] == str(core[0])
    helpers = read_cpu_set(allowed["IO iothread1"])
    shared = {cpu for node in read_shape(ShapeQuestion()).nodes for one in node.cores for cpu in one} - {
        *core
    }
    assert helpers == (shared or {*core})
    token, _, _ = site.lease(name)
    assert site.sql("SELECT * FROM vm_core_leases ORDER BY Cpu") == [
        [HOST, str(cpu), name, str(token)] for cpu in core
    ]
    listed = site.done("list host vm shape")
    assert re.search(
        rf"^{name}: +{HOST} +{write_cpu_set(core)} +64 MB on node [0-9]+ +-+ *$", listed, re.MULTILINE
    )
    site.done(f"stop host vm {name}")
    assert leases(site) == []
    assert re.search(rf"^{name}: -+ +-+ +-+ +-+ *$", site.done(f"list host vm shape {name}"), re.MULTILINE)
    assert "there is no virtual machine nobody" in site.refused("list host vm shape nobody")


def test_a_machine_without_a_pin_keeps_off_the_cores_that_are_lent(
    site: ThreeMachines, core: tuple[int, ...]
) -> None:
    every = {cpu for node in read_shape(ShapeQuestion()).nodes for one in node.cores for cpu in one}
    name = add(site, "floating")
    if every == {*core}:
        assert "lends all its CPUs to pinned machines" in site.refused(f"start host vm {name}")
        return
    site.done(f"start host vm {name}")
    assert read_cpu_set(threads(site, name)["CPU 0/TCG"]) == every - {*core}
    assert leases(site) == []


def test_a_core_is_leased_to_one_machine(site: ThreeMachines, core: tuple[int, ...]) -> None:
    first, second = (add(site, name, kvm_cpu_pinning="pin_all") for name in ("first", "second"))
    by_hand = add(site, "byhand", kvm_cpu_pinning=f"<vcpupin vcpu='0' cpuset='{core[0]}'/>")
    assert f"start {first}" in site.done(f"start host vm {first} dry-run=yes")
    assert leases(site) == []
    site.done(f"start host vm {first}")
    before = leases(site)
    error = site.refused(f"start host vm {second}")
    assert "second is not started: it needs whole cores for 1 CPUs" in error
    assert f"{HOST} has free cores of those in vm_pinned_cpus: 0 on node 0" in error
    assert "leased to first" in error
    error = site.refused(f"start host vm {by_hand}")
    assert f"it is pinned to CPUs of {HOST} that first has ({core[0]})" in error
    assert leases(site) == before
    site.done(f"stop host vm {first}")
    site.done(f"start host vm {by_hand}")
    assert "leased to byhand" in site.refused(f"start host vm {first}")


def test_of_two_parallel_starts_exactly_one_gets_the_core(site: ThreeMachines, core: tuple[int, ...]) -> None:
    names = [add(site, name, kvm_cpu_pinning="pin_all") for name in ("left", "right")]
    for _ in range(PAIRS):
        error = site.start_at_once(names)
        assert "it needs whole cores for 1 CPUs" in error
        assert len(site.sql("SELECT DISTINCT Name FROM vm_core_leases")) == 1
        site.done("stop host vm " + " ".join(names))


def test_what_a_host_does_not_have_is_named(site: ThreeMachines, core: tuple[int, ...]) -> None:
    name = add(site, "asks", kvm_hugepages="1G", kvm_pci_devices="gpu")
    assert "asks for PCI devices of the pool gpu, and vmh1 has the pools: none" in site.refused(
        f"start host vm {name}"
    )
    site.done(f'set host attr {HOST} vm_pci_pools "gpu:0000:ff:1f.7"')
    assert "0000:ff:1f.7 is not on the host" in site.refused(f"start host vm {name}")
    site.done(f"remove host attr {name} kvm_pci_devices")
    assert "its memory of 64 MB is not a multiple of its huge pages of 1024 MB" in site.refused(
        f"start host vm {name}"
    )
    site.done(f"set host attr {name} kvm_hugepages 2M")
    # More than this machine has free on its nodes, which need not be none.
    nodes = read_shape(ShapeQuestion()).nodes
    free = {node.number: sum(pages.free for pages in node.pages if pages.size_kb == 2048) for node in nodes}
    needed = max(32, *free.values(), 0) + 1
    site.done(f"set host vm {name} mem={2 * needed}")
    error = site.refused(f"start host vm {name}")
    assert (
        f"asks is not started: it needs {needed} huge pages of 2M on one NUMA node, and {HOST} has free:"
        in error
    )
    assert all(f"{count} on node {node}" in error for node, count in free.items())
    assert f"rocks set host attr {HOST} vm_hugepages 2M:NUMBER" in error
    assert leases(site) == []
    assert site.lease(name)[1] == "released"
