"""A host with two NUMA nodes and huge pages: what a machine asked for, by libvirt, by the kernel, and by its guest.

The host is beside the lab's machines, on its networks: four processors and 2 GB on two nodes. The lab's may be off. It
is booted once; before each test, it and the cluster database return to what they were after its profile. Its guests run
without KVM (docs/lab.md).
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from lab.machines import keys
from lab.machines.checkout import STATE, built_parts, with_kvm
from lab.machines.frontend import IMAGE_FOLDER, Frontend, put_counting_guest
from lab.machines.lab import Lab
from lab.machines.login import KEY_FILE
from lab.machines.machine import LabMachine
from lab.machines.namespace import Namespace, tap_steps
from lab.machines.profile import run_profile
from lab.machines.roster import STORAGE_DEVICE, Description, Role
from lab.machines.site import AGENT
from rocks.core.errors import HostError
from rocks.core.process import run, run_checked
from rocks.core.values import KIB_PER_MB
from tests.lab.function_guest import put_function_guest

SUBJECTS = (
    "bin/rocks",
    "src/rocks/agent",
    "src/rocks/cli/launch.py",
    "src/rocks/cli/main.py",
    "src/rocks/machine/domain.py",
    "lab/guest",
    "packaging/files/rocks-agent*",
    "packaging/files/units/rocks-agent*",
)

HOST = Description("vmh3", Role.HOST, 3, memory_mb=2048, cpus=4, numa_nodes=2)
GUEST = "shaped"
MEMORY_MB = 256
PAGES = "2M:64@0 2M:64@1"
PAIR = ("left", "right")
NODE_MB = 128
"""Memory of a machine that takes all pages of a node."""
_FREE_PAGES = ["64", "64"]
_ROUNDS = 3
_TRUNK = "/sys/class/net/trunk0/device"
_FUNCTION, _WATCHDOG = "0x8086:0x10ca", "0x8086:0x25ab"
"""PCI identifiers of a virtual function of the trunk's adapter, and of the watchdog."""
_SAVED = "saved-frontend"
_BOOT_SECONDS = 400.0
_BOOT_ATTEMPTS = 3
_PROBE_SECONDS = 300.0
_GUEST_SECONDS = 3600.0

_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin
echo "guest processors $(grep -c ^processor /proc/cpuinfo)"
for node in /sys/devices/system/node/node[0-9]*; do
  memory=$(sed -n "s/.*MemTotal: *//p" "$node/meminfo")
  echo "guest ${node##*/} has the CPUs $(cat "$node/cpulist") and $memory"
done
for device in /sys/bus/pci/devices/*; do
  echo "guest device $(cat "$device/vendor"):$(cat "$device/device")"
done
echo "guest end"
while :; do sleep 60; done
"""


class TwoNodeSite:
    """The host, and the frontend whose only host it is."""

    def __init__(self, lab: Lab, frontend: Frontend) -> None:
        self.lab = lab
        self.frontend = frontend

    @property
    def host(self) -> LabMachine:
        """The host with two nodes."""
        return self.lab[HOST.name]

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        return self.frontend.done(*arguments)

    def refused(self, *arguments: str) -> str:
        """Run a command that must end with an error; returns it."""
        finished = self.frontend.rocks(*arguments)
        assert finished.exit_status == 1, finished.text + finished.error_text
        assert "Traceback" not in finished.error_text
        return finished.error_text

    def set_up(self) -> None:
        """Database, host, keys, its profile with pages for machines, and the CPUs 1 and 2 for pinned ones."""
        self.frontend.begin_anew()
        self.frontend.describe_site([HOST])
        self.frontend.share_keys([HOST])
        self.done("set", "host", "interface", "options", HOST.name, STORAGE_DEVICE, "macvtap")
        self.done("set", "host", "attr", HOST.name, "vm_hugepages", PAGES)
        self.done("set", "host", "attr", HOST.name, "vm_pinned_cpus", "1-2")
        print(run_profile(self.host, self.frontend))

    def add_vm(self, name: str, *sizes: str, init: str = "", **attributes: str) -> None:
        """A machine on the host with these attributes; its guest's first program is `init`, or it counts."""
        self.done("add", "host", "vm", HOST.name, "membership=compute", f"name={name}", "disksize=1", *sizes)
        self.done("set", "host", "boot", name, "action=os")
        for attribute, value in attributes.items():
            self.done("set", "host", "attr", name, attribute, value)
        disk = f"{IMAGE_FOLDER}/{name}.vda"
        if init:
            put_function_guest(self.lab, self.host, disk, init, ())
        else:
            put_counting_guest(self.host, self.lab.counting_guest, disk)
        self.done("set", "host", "image", HOST.name, disk, f"vm={name}")

    def free_pages(self) -> list[str]:
        """Pages of 2 MB on each node that nothing uses, as the kernel has them."""
        files = "/sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages"
        return self.host.shell(f"cat {files}").split()

    def wait_for_console(self, name: str, text: str) -> str:
        """Until the guest has printed the text; returns its console. HostError at the deadline.

        The host itself looks: logins, again and again, would slow the guest.
        """
        console = f"/var/log/libvirt/qemu/{name}.console.log"
        script = f"until grep -q '{text}' {console}; do sleep 2; done; cat {console}"
        return self.host.shell(script, _GUEST_SECONDS)


def _boot(lab: Lab) -> None:
    """Have the host on, from fresh disks, with libvirt and the agent having looked at its processors."""
    host = lab[HOST.name]
    keys.ensure_keys(lab.keys, [host.name])
    for attempt in range(_BOOT_ATTEMPTS):
        host.kill()
        lab.prepare(host)
        try:
            print(f"{host.name} boots in {host.boot(_BOOT_SECONDS):.0f} s")
            break
        except HostError:
            # with four emulated processors, its kernel waits for ever before its first program, now and then
            if attempt + 1 == _BOOT_ATTEMPTS:
                raise
    host.set_clock()
    host.run(["virsh", "--quiet", "domcapabilities", "--virttype", "qemu"], _PROBE_SECONDS)
    host.run([AGENT, "probe"], _PROBE_SECONDS)


@pytest.fixture(scope="module")
def prepared() -> Iterator[TwoNodeSite]:
    """The host, on, with its profile, and this saved as its clean state; it is off afterwards."""
    if not Namespace(STATE).surrounds_this_process():
        pytest.skip(
            "no lab around this run: start it by `make lab` and run the tests by `make test-lab-long`"
        )
    built = built_parts()
    lab = Lab(STATE / "two-nodes", built, with_kvm(built), [HOST])
    if run(["ip", "link", "show", f"{HOST.name}-storage"], deadline_seconds=10).exit_status:
        for step in tap_steps(HOST):
            run_checked(step, deadline_seconds=10)
    frontend = Frontend(STATE, lab.keys / KEY_FILE)
    frontend.start()
    try:
        _boot(lab)
        found = TwoNodeSite(lab, frontend)
        found.set_up()
        frontend.save(lab.folder / _SAVED)
        found.host.save_clean_state()
        yield found
    finally:
        lab[HOST.name].kill()


@pytest.fixture
def site(prepared: TwoNodeSite, watched: list[Lab]) -> TwoNodeSite:
    """The host and the database as after its profile, whatever a test did."""
    prepared.host.return_to_clean_state()
    watched.append(prepared.lab)
    prepared.frontend.restore(prepared.lab.folder / _SAVED)
    return prepared


def test_a_machine_has_the_cores_pages_and_device_that_it_asked_for(site: TwoNodeSite) -> None:
    host = site.host
    assert site.free_pages() == _FREE_PAGES
    again = run_profile(host, site.frontend)
    assert "huge" not in "".join(line for line in again.splitlines() if "changed" in line), again
    host.shell(f"echo 1 >{_TRUNK}/sriov_numvfs")
    device = host.shell(f"basename $(readlink {_TRUNK}/virtfn0)").strip()
    site.done("set", "host", "attr", HOST.name, "vm_pci_pools", f"nic:{device}")
    asked = {"kvm_cpu_pinning": "numa", "kvm_hugepages": "2M", "kvm_pci_devices": "nic"}
    site.add_vm(GUEST, f"mem={MEMORY_MB}", "cpus=2", init=_INIT, kvm_watchdog="reset", **asked)
    site.add_vm("other", "mem=64", **asked)
    site.done("start", "host", "vm", GUEST)

    listed = site.done("list", "host", "vm", "shape")
    print(listed)
    assert re.search(
        rf"^{GUEST}: +{HOST.name} +1-2 +128 MB in 2M on node 0, 128 MB in 2M on node 1 ", listed, re.M
    )
    assert f"nic {device}" in listed
    _check_libvirt(host, device)
    _check_kernel(site)
    _check_refusals(site, device)
    reported = site.wait_for_console(GUEST, "guest end")
    print(reported)
    lines = [line.strip() for line in reported.splitlines()]
    assert "guest processors 2" in lines
    nodes = re.findall(r"^guest (node.*) has the CPUs (.*) and ([0-9]+) kB\s*$", reported, re.MULTILINE)
    assert [(node, cpus) for node, cpus, _ in nodes] == [("node0", "0"), ("node1", "1")]
    # less what its kernel, which is on one of them, takes
    assert all(NODE_MB / 2 < int(memory) / KIB_PER_MB <= NODE_MB for _, _, memory in nodes), nodes
    assert f"guest device {_FUNCTION}" in lines
    assert f"guest device {_WATCHDOG}" in lines

    site.done("stop", "host", "vm", GUEST)
    _check_nothing_taken(site)


def test_of_two_parallel_starts_one_gets_all_pages_of_a_node(site: TwoNodeSite) -> None:
    """Each could have a core of the node, on which the host has none for QEMU itself."""
    site.done("set", "host", "attr", HOST.name, "vm_pinned_cpus", "2-3")
    for name in PAIR:
        site.add_vm(name, f"mem={NODE_MB}", kvm_cpu_pinning="numa", kvm_hugepages="2M")
    _check_parallel_starts(
        site,
        "needs 64 huge pages of 2M on the NUMA nodes of its cores, and vmh3 has free: 64 on node 0, 0 on node 1",
    )


def test_of_two_parallel_starts_one_gets_the_core(site: TwoNodeSite) -> None:
    """Each could have all pages of a node."""
    site.done("set", "host", "attr", HOST.name, "vm_pinned_cpus", "2")
    for name in PAIR:
        site.add_vm(name, f"mem={NODE_MB}", kvm_cpu_pinning="pin_all", kvm_hugepages="2M")
    _check_parallel_starts(site, "needs whole cores for 1 CPUs")


def test_a_host_reserves_its_pages_at_each_boot(site: TwoNodeSite) -> None:
    """Without its profile, and libvirt finds them. The second machine has pages of the node whose CPUs are all lent."""
    site.done("set", "host", "attr", HOST.name, "vm_pinned_cpus", "0-1")
    for name in PAIR:
        site.add_vm(name, f"mem={NODE_MB}", kvm_hugepages="2M")
    site.host.reboot(_BOOT_SECONDS)
    assert site.free_pages() == _FREE_PAGES
    for name, free in zip(PAIR, (["64", "0"], ["0", "0"]), strict=True):
        site.done("start", "host", "vm", name)
        assert site.free_pages() == free
        site.wait_for_console(name, "count ")
    site.done("stop", "host", "vm", *PAIR)
    _check_nothing_taken(site)


def _check_libvirt(host: LabMachine, device: str) -> None:
    document = ElementTree.fromstring(host.run(["virsh", "-q", "dumpxml", GUEST]).text)
    pins = {pin.get("vcpu"): pin.get("cpuset") for pin in document.findall("cputune/vcpupin")}
    assert pins == {"0": "1", "1": "2"}
    nodes = {node.get("cellid"): node.get("nodeset") for node in document.findall("numatune/memnode")}
    assert nodes == {"0": "0", "1": "1"}
    cells = [(cell.get("cpus"), cell.get("memory")) for cell in document.findall("cpu/numa/cell")]
    assert cells == [("0", str(128 * 1024)), ("1", str(128 * 1024))]
    address = document.find("devices/hostdev/source/address")
    parts = [address.get(name, "")[2:] for name in ("domain", "bus", "slot", "function")]
    assert f"{parts[0]}:{parts[1]}:{parts[2]}.{parts[3]}" == device
    listed = host.run(["virsh", "-q", "vcpupin", GUEST]).text.split()
    assert listed == ["0", "1", "1", "2"]


def _check_kernel(site: TwoNodeSite) -> None:
    """Pages are taken on both nodes, and the threads of the processors may run on their own CPUs only."""
    assert site.free_pages() == ["0", "0"]
    pid = site.host.shell(f"cat /run/libvirt/qemu/{GUEST}.pid").strip()
    status = site.host.shell(f"cat /proc/{pid}/task/*/status")
    allowed = dict(re.findall(r"^Name:\t(.*)$(?:.|\n)*?^Cpus_allowed_list:\t(.*)$", status, re.MULTILINE))
    print(allowed)
    processors = {name: cpus for name, cpus in allowed.items() if name.startswith("CPU ")}
    assert [processors[name] for name in sorted(processors)] == ["1", "2"]
    assert allowed["IO iothread1"] == "0,3"
    maps = site.host.shell(f"grep bind: /proc/{pid}/numa_maps")
    print(maps)
    assert re.search(r"bind:0 .*huge.* N0=64 kernelpagesize_kB=2048", maps)
    assert re.search(r"bind:1 .*huge.* N1=64 kernelpagesize_kB=2048", maps)


def _check_refusals(site: TwoNodeSite, device: str) -> None:
    """Device, cores and pages, in the order in which they are looked at."""
    before = site.done("list", "host", "vm", "shape")
    assert f"{device} is leased to {GUEST}" in site.refused("start", "host", "vm", "other")
    site.done("remove", "host", "attr", "other", "kvm_pci_devices")
    error = site.refused("start", "host", "vm", "other")
    assert f"free cores of those in vm_pinned_cpus: 0 on node 0, 0 on node 1 (leased to {GUEST};" in error
    site.done("set", "host", "attr", "other", "kvm_cpu_pinning", "none")
    error = site.refused("start", "host", "vm", "other")
    assert (
        f"needs 32 huge pages of 2M on one NUMA node, and {HOST.name} has free: 0 on node 0, 0 on node 1"
        in error
    )
    assert site.done("list", "host", "vm", "shape") == before


def _check_parallel_starts(site: TwoNodeSite, refusal: str) -> None:
    """One of the pair runs, on the pages of node 1; the other is refused for this reason; neither leaves anything."""
    for _ in range(_ROUNDS):
        with ThreadPoolExecutor(len(PAIR)) as pool:
            ends = list(pool.map(lambda name: site.frontend.rocks("start", "host", "vm", name), PAIR))
        assert sorted(end.exit_status for end in ends) == [0, 1], ends
        (error,) = [end.error_text for end in ends if end.exit_status]
        assert refusal in error
        print(error)
        assert site.free_pages() == ["64", "0"]
        site.done("stop", "host", "vm", *PAIR)
        _check_nothing_taken(site)


def _check_nothing_taken(site: TwoNodeSite) -> None:
    assert site.free_pages() == _FREE_PAGES
    assert site.done("list", "host", "vm", "shape") == ""
