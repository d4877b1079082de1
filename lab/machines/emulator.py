"""How QEMU is started for a machine: one argument vector, whole on one screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lab.build.parts import Built
from lab.machines import with_taps
from lab.machines.clock import counter_khz
from lab.machines.roster import STORAGE_MTU_BYTES, Description, Role
from rocks.core.process import run_checked

CLEAN_STATE = "clean"
"""Tag of the saved state to which a machine returns between tests."""

MACHINE = "q35,kernel-irqchip=split"
"""The board; without the split the emulated IOMMU is refused under KVM."""

STORAGE_ADAPTER = "storage-adapter"
"""QEMU's name of the adapter, for its monitor."""

ROOT_DISK = "root.qcow2"
DATA_DISK = "data.qcow2"
SEED = "initramfs"
MONITOR = "monitor"
SERIAL_LOG = "serial.log"
_LOADER = "lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_IMAGE_DEADLINE_SECONDS = 60.0
# the number of the first open file that is a tap
_FIRST_TAP = 100

KERNEL_PARAMETERS = (
    "console=ttyS0 quiet loglevel=4 systemd.show_status=no systemd.getty_auto=no mitigations=off audit=0 apparmor=0 "
    "selinux=0 panic=10 net.ifnames=0 intel_iommu=on iommu=pt no_timer_check tsc=reliable "
    # a machine that goes back to an earlier state, or is thawed, sees its clock jump: no daemon has hung
    "systemd.service_watchdogs=no"
)


def program(tree: Path, name: str) -> list[str]:
    """A program of a tree, started by the tree's own loader, so that this machine's libraries do not matter."""
    libraries = ":".join(str(tree / folder) for folder in _LIBRARIES)
    return [str(tree / _LOADER), "--library-path", libraries, str(tree / "usr/bin" / name)]


def environment_of(tree: Path) -> dict[str, str]:
    """Environment of the tree's programs: QEMU's loadable parts are sought in the tree, not on this machine."""
    return {**os.environ, "QEMU_MODULE_DIR": str(tree / _LIBRARIES[0] / "qemu")}


def qemu(tree: Path) -> list[str]:
    """The emulator itself, with its firmware."""
    firmware = [
        option for folder in ("qemu", "seabios") for option in ("-L", str(tree / "usr/share" / folder))
    ]
    return [*program(tree, "qemu-system-x86_64"), *firmware]


def create_disks(built: Built, machine: Description, folder: Path) -> None:
    """The machine's two disks: an overlay of the image of its role, and space for its pool."""
    create = [*program(built.qemu_tree, "qemu-img"), "create", "-q", "-f", "qcow2"]
    backing = ["-b", str(built.image(machine.role.value)), "-F", "raw"]
    run_checked([*create, *backing, str(folder / ROOT_DISK)], deadline_seconds=_IMAGE_DEADLINE_SECONDS)
    size = f"{machine.data_disk_gb}G"
    run_checked([*create, str(folder / DATA_DISK), size], deadline_seconds=_IMAGE_DEADLINE_SECONDS)


def command(built: Built, machine: Description, folder: Path, with_kvm: bool, state: str | None) -> list[str]:
    """The argument vector for the machine whose files are in `folder`; it stays in the foreground.

    `state` is the tag of a saved state from which it resumes; None: it boots.
    """
    return [
        *_with_taps(machine),
        # relative names from here on: a unix socket's path has 107 bytes at most
        *("/usr/bin/env", f"--chdir={folder}", f"TMPDIR={folder}"),
        *qemu(built.qemu_tree),
        *("-name", machine.name, "-nodefaults", "-no-user-config", "-display", "none"),
        *_processor(machine, with_kvm),
        *(
            "-kernel",
            str(built.kernel(machine.role.value)),
            "-initrd",
            SEED,
            "-append",
            _kernel_parameters(machine, with_kvm),
        ),
        *("-serial", f"file:{SERIAL_LOG}", "-qmp", f"unix:{MONITOR},server=on,wait=off"),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=entropy"),
        *_disk("root", ROOT_DISK),
        *_disk("data", DATA_DISK),
        *_storage_adapter(machine),
        *(_trunk_adapter(machine) if machine.role is Role.HOST else ()),
        *(("-loadvm", state) if state else ()),
    ]


def _kernel_parameters(machine: Description, with_kvm: bool) -> str:
    if with_kvm:
        return KERNEL_PARAMETERS
    # a guest with several processors under emulated SVM can stop such a host for ever
    without_kvm = " modprobe.blacklist=kvm_amd" if machine.numa_nodes > 1 else ""
    return f"{KERNEL_PARAMETERS} tsc_early_khz={counter_khz()}{without_kvm}"


def _processor(machine: Description, with_kvm: bool) -> list[str]:
    accelerator = ["kvm"] if with_kvm else ["tcg,thread=multi,tb-size=256"]
    return [
        *(
            "-machine",
            MACHINE,
            "-accel",
            *accelerator,
            "-cpu",
            "host" if with_kvm else "max",
        ),
        *("-smp", f"{machine.cpus},sockets={machine.numa_nodes}", "-m", str(machine.memory_mb)),
        *_numa_nodes(machine),
    ]


def _numa_nodes(machine: Description) -> list[str]:
    """Nodes with equal parts of processors and memory; none for a machine with one."""
    if machine.numa_nodes == 1:
        return []
    cpus, memory_mb = machine.cpus // machine.numa_nodes, machine.memory_mb // machine.numa_nodes
    options: list[str] = []
    for node in range(machine.numa_nodes):
        options += ["-object", f"memory-backend-memfd,id=node{node},size={memory_mb}M"]
        first = node * cpus
        options += ["-numa", f"node,nodeid={node},cpus={first}-{first + cpus - 1},memdev=node{node}"]
    return options


def _disk(name: str, file: str) -> list[str]:
    backend = f"file={file},if=none,id={name},format=qcow2,cache=writeback,discard=unmap"
    return ["-drive", backend, "-device", f"virtio-blk-pci,drive={name},serial={name}"]


def _with_taps(machine: Description) -> list[str]:
    """What opens the machine's taps for QEMU: that of storage first, and the trunk of a host."""
    taps = [f"{tap}={number}" for number, tap in enumerate(machine.taps, _FIRST_TAP)]
    return [sys.executable, "-I", str(Path(with_taps.__file__)), *taps, "--"]


def _storage_adapter(machine: Description) -> list[str]:
    tap = f"tap,id=storage,fd={_FIRST_TAP}"
    options = (
        f"id={STORAGE_ADAPTER},netdev=storage,mac={machine.storage_mac},host_mtu={STORAGE_MTU_BYTES},romfile="
    )
    return ["-netdev", tap, "-device", f"virtio-net-pci,{options}"]


def _trunk_adapter(machine: Description) -> list[str]:
    """An igb with virtual functions, which wants PCI Express, and the IOMMU that makes them fit for VFIO."""
    tap = f"tap,id=trunk,fd={_FIRST_TAP + 1}"
    return [
        *("-device", "intel-iommu,intremap=off,caching-mode=on"),
        *("-device", "pcie-root-port,id=port1,chassis=1,slot=1"),
        *("-netdev", tap, "-device", f"igb,bus=port1,netdev=trunk,mac={machine.trunk_mac},romfile="),
    ]
