"""A host with two NUMA nodes and huge pages: what a machine asked for, by libvirt, by the kernel, and by its guest.

The host is beside the lab's machines, on its networks: four processors and 2 GB on two nodes. The lab's may be off.
"""

from __future__ import annotations

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
from rocks.process import Finished, run, run_checked
from tests.lab.function_guest import put_function_guest

HOST = Description("vmh3", Role.HOST, 3, memory_mb=2048, cpus=4, numa_nodes=2)
GUEST = "shaped"
MEMORY_MB = 256
PAGES = "2M:64@0 2M:64@1"
_TRUNK = "/sys/class/net/trunk0/device"
_BOOT_SECONDS = 1200.0
_PROBE_SECONDS = 300.0
_GUEST_SECONDS = 1200.0

_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin
echo "guest processors $(grep -c ^processor /proc/cpuinfo)"
for node in /sys/devices/system/node/node[0-9]*; do
  echo "guest ${node##*/} has the CPUs $(cat "$node/cpulist")"
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

    def add_vm(self, name: str, *sizes: str, **attributes: str) -> None:
        """A machine on the host with these attributes."""
        self.done("add", "host", "vm", HOST.name, "membership=compute", f"name={name}", "disksize=1", *sizes)
        self.done("set", "host", "boot", name, "action=os")
        for attribute, value in attributes.items():
            self.done("set", "host", "attr", name, attribute, value)

    def free_pages(self) -> list[str]:
        """Pages of 2 MB on each node that nothing uses, as the kernel has them."""
        files = "/sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages"
        return self.host.shell(f"cat {files}").split()


def _boot(lab: Lab) -> None:
    """Have the host on, from fresh disks, with libvirt and the agent having looked at its processors."""
    host = lab[HOST.name]
    keys.ensure_keys(lab.keys, [host.name])
    host.kill()
    lab.prepare(host)
    print(f"{host.name} boots in {host.boot(_BOOT_SECONDS):.0f} s")
    host.set_clock()
    host.run(["virsh", "--quiet", "domcapabilities", "--virttype", "qemu"], _PROBE_SECONDS)
    host.run([AGENT, "probe"], _PROBE_SECONDS)


@pytest.fixture
def site() -> Iterator[TwoNodeSite]:
    """The host, set up and on; it is off afterwards."""
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
        yield found
    finally:
        lab[HOST.name].kill()


def test_a_machine_has_the_cores_pages_and_device_that_it_asked_for(site: TwoNodeSite) -> None:
    host = site.host
    assert site.free_pages() == ["64", "64"]
    again = run_profile(host, site.frontend)
    assert "huge" not in "".join(line for line in again.splitlines() if "changed" in line), again
    host.shell(f"echo 1 >{_TRUNK}/sriov_numvfs")
    device = host.shell(f"basename $(readlink {_TRUNK}/virtfn0)").strip()
    site.done("set", "host", "attr", HOST.name, "vm_pci_pools", f"nic:{device}")
    asked = {
        "kvm_cpu_pinning": "numa",
        "kvm_hugepages": "2M",
        "kvm_pci_devices": "nic",
        "kvm_watchdog": "reset",
    }
    site.add_vm(GUEST, f"mem={MEMORY_MB}", "cpus=2", **asked)
    site.add_vm("other", "mem=64", **{**asked, "kvm_watchdog": "none"})
    put_function_guest(site.lab, host, f"{IMAGE_FOLDER}/{GUEST}.vda", _INIT, ())
    put_counting_guest(host, site.lab.counting_guest, f"{IMAGE_FOLDER}/other.vda")
    for name in (GUEST, "other"):
        site.done("set", "host", "image", HOST.name, f"{IMAGE_FOLDER}/{name}.vda", f"vm={name}")
    site.done("start", "host", "vm", GUEST)

    listed = site.done("list", "host", "vm", "shape")
    print(listed)
    assert re.search(
        rf"^{GUEST}: +{HOST.name} +1-2 +128 MB in 2M on node 0, 128 MB in 2M on node 1 ", listed, re.M
    )
    assert f"nic {device}" in listed
    _check_libvirt(host, device)
    _check_kernel(site)
    console = f"/var/log/libvirt/qemu/{GUEST}.console.log"
    reported = host.wait_for(["cat", console], "guest end", _GUEST_SECONDS)
    print(reported)
    assert "guest processors 2" in reported
    assert "guest node0 has the CPUs 0" in reported
    assert "guest node1 has the CPUs 1" in reported
    assert "guest device 0x8086:0x10ca" in reported

    _check_refusals(site, device)
    site.done("stop", "host", "vm", GUEST)
    assert site.free_pages() == ["64", "64"]
    assert site.done("list", "host", "vm", "shape") == ""
    _check_parallel_starts(site)


def _check_libvirt(host: LabMachine, device: str) -> None:
    document = ElementTree.fromstring(host.run(["virsh", "-q", "dumpxml", GUEST]).text)
    pins = {pin.get("vcpu"): pin.get("cpuset") for pin in document.findall("cputune/vcpupin")}
    assert pins == {"0": "1", "1": "2"}
    nodes = {node.get("cellid"): node.get("nodeset") for node in document.findall("numatune/memnode")}
    assert nodes == {"0": "0", "1": "1"}
    cells = [(cell.get("cpus"), cell.get("memory")) for cell in document.findall("cpu/numa/cell")]
    assert cells == [("0", str(128 * 1024)), ("1", str(128 * 1024))]
    address = document.find("devices/hostdev/source/address")
    assert address is not None
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


def _check_parallel_starts(site: TwoNodeSite) -> None:
    """Both want all pages of a node, and there are two nodes; then both want both cores."""
    site.done("set", "host", "vm", GUEST, "mem=128")
    site.done("set", "host", "cpus", GUEST, "1")
    for name in (GUEST, "other"):
        site.done("set", "host", "attr", name, "kvm_cpu_pinning", "pin_all")
    site.done("remove", "host", "attr", GUEST, "kvm_pci_devices")
    site.done("set", "host", "attr", HOST.name, "vm_pinned_cpus", "2")

    def start(name: str) -> Finished:
        return site.frontend.rocks("start", "host", "vm", name)

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(start, (GUEST, "other")))
    assert sorted(end.exit_status for end in ends) == [0, 1], ends
    (error,) = [end.error_text for end in ends if end.exit_status]
    assert "it needs whole cores for 1 CPUs" in error
    site.done("stop", "host", "vm", GUEST, "other")
    assert site.free_pages() == ["64", "64"]
