"""Facts that a physical host reports: its hardware, domains, disks, VFs, and the states of a domain. Pure."""

from __future__ import annotations

from typing import Literal, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import Request

ACTIVE_STATES = ("running", "blocked", "paused", "shutdown", "crashed")
"""States in which a domain holds memory and may write to its disks."""

GUEST_RUNS = ("running", "blocked")
"""States in which the guest runs."""


def is_active(facts: HostFacts, name: str) -> bool:
    """Whether a domain of that name uses memory on the host, and so may write to its disks."""
    return any(d.name.lower() == name.lower() and is_active_domain(d) for d in facts.domains)


def is_active_domain(domain: DomainFact | None) -> bool:
    """Whether it uses memory, and so may write to its disks: it has a QEMU process."""
    return domain is not None and domain.state in ACTIVE_STATES


# Facts about the CPUs, memory and PCI devices of a physical host, by NUMA node.


@dataclass(frozen=True)
class PagesFact:
    """Huge pages of `size_kb` KiB on a node: how many are reserved, and how many of these are not in use."""

    size_kb: int
    total: int
    free: int


@dataclass(frozen=True)
class NodeFact:
    """A NUMA node: its memory in KiB, its cores, each as the CPUs that are its threads, and its huge pages.

    Only CPUs that are online, in order.
    """

    number: int
    memory_kb: int
    cores: Tuple[Tuple[int, ...], ...]
    pages: Tuple[PagesFact, ...] = ()


@dataclass(frozen=True)
class PciFact:
    """A PCI device by its address (0000:3b:00.0); `group` is its IOMMU group, None without an IOMMU."""

    address: str
    exists: bool
    group: Optional[int] = None


@dataclass(frozen=True)
class ShapeFact:
    """The nodes of a host in order, the devices that were asked for, and whether guests need AMD's `topoext`."""

    nodes: Tuple[NodeFact, ...]
    devices: Tuple[PciFact, ...] = ()
    has_topoext: bool = False


@dataclass(frozen=True)
class ShapeQuestion:
    """Report the nodes, and the PCI devices with these addresses."""

    devices: Tuple[str, ...] = ()


# Facts about a physical host: the host, its domains and disks, a console, the KVM probe, its VFs.


DomainState = Literal["running", "blocked", "paused", "shutdown", "shutoff", "crashed"]
"""A domain's state by libvirt's names; a guest that suspended itself counts as paused."""

Accelerator = Literal["kvm", "tcg", "unknown"]
"""How guests run on a host; unknown until the probe guest has run there."""


@dataclass(frozen=True)
class Fence:
    """No domain `name` with a lease below `below_token` may remain on the host."""

    name: str
    below_token: int


@dataclass(frozen=True)
class LeaseEnd:
    """No lease up to `token` may start the domain `name` on the host any more, unless the domain is active now."""

    name: str
    token: int


@dataclass(frozen=True)
class LeaseFact:
    """The lowest token that may start the domain `name` on the host."""

    name: str
    token: int


@dataclass(frozen=True)
class DomainFact:
    """A domain as libvirt reports it. `token` is None for a domain that this system did not start.

    `machine_type` is what QEMU emulates, with the version that it has kept since its start: pc-i440fx-7.2; empty when
    it is not known. `disks` are the files and devices of its disks. `listeners` are its screens and lines that listen
    on the network, where every user of the host reaches them: `vnc 127.0.0.1 port 5900`.
    """

    name: str
    uuid: str
    state: DomainState
    token: Optional[int]
    memory_mb: int
    cpus: int
    autostart: bool
    persistent: bool
    has_managed_save: bool
    disks: Tuple[str, ...] = ()
    listeners: Tuple[str, ...] = ()
    machine_type: str = ""


@dataclass(frozen=True)
class DiskFact:
    """The state of a disk's path. `size_bytes` is the size of the file or device, 0 when absent.

    `filesystem_bytes` and `free_bytes` belong to the file system of `folder`, the nearest existing parent; 0 and empty
    for a block device.
    """

    path: str
    exists: bool
    is_block: bool
    size_bytes: int
    filesystem_bytes: int
    free_bytes: int
    folder: str = ""


@dataclass(frozen=True)
class HostFacts:
    """The facts that a plan needs of one host.

    `memory_mb` is the memory of its system, in MiB, `cpus` the number of those online. `has_8021q` and `has_filters`:
    whether its kernel has VLANs, and its nftables the packet filters of guests. `domains` are all of them by name,
    `disks` those of the request in its order.

    `fenced` names the domains whose fences are in force from now on, `ended` those whose leases have ended: they are
    not active, and no agent that still works on an earlier request can start them. `epoch` is the host's lease epoch;
    `leases` is empty unless the request asks for them. `load` is the load average of the last minute. `shape` is None
    unless the request asks for it. `system` is the operating system and its release by os-release(5), as debian 12;
    `qemu` the version of its QEMU, as 7.2.22. `libvirt` is the version of the daemon that runs, `libvirt_installed`
    that of the files. All are empty where they are not known.
    """

    memory_mb: int
    cpus: int
    has_8021q: bool
    has_filters: bool
    domains: Tuple[DomainFact, ...]
    disks: Tuple[DiskFact, ...]
    fenced: Tuple[str, ...]
    ended: Tuple[str, ...] = ()
    epoch: int = 0
    leases: Tuple[LeaseFact, ...] = ()
    load: float = 0.0
    shape: Optional[ShapeFact] = None
    system: str = ""
    qemu: str = ""
    libvirt: str = ""
    libvirt_installed: str = ""


@dataclass(frozen=True)
class FactsRequest(Request[HostFacts]):
    """Put the host's fences up, end leases whose domains are not active, then read the host's facts.

    Before that, starts under leases of epochs before `epoch` are refused for good. `disks` are absolute paths.
    """

    disks: Tuple[str, ...] = ()
    fences: Tuple[Fence, ...] = ()
    lease_ends: Tuple[LeaseEnd, ...] = ()
    epoch: int = 0
    asks_leases: bool = False
    shape: Optional[ShapeQuestion] = None


@dataclass(frozen=True)
class ConsoleFact:
    """Where to find the console of a running domain. None where the domain has none of that kind.

    `log_path` is the log of its serial line. `vnc_socket` is a unix socket of the host.
    """

    log_path: Optional[str]
    vnc_socket: Optional[str] = None


@dataclass(frozen=True)
class ConsoleRequest(Request[ConsoleFact]):
    """Find the console of the running domain `name`."""

    name: str


@dataclass(frozen=True)
class DocumentsFact:
    """Domain XML as libvirt on the host would get it, in the order of the request."""

    documents: Tuple[str, ...]


@dataclass(frozen=True)
class DocumentsRequest(Request[DocumentsFact]):
    """Adapt domain XML to the host as a start does: its emulator, and emulation where KVM does not work.

    A document that a start would reject comes back unchanged.
    """

    documents: Tuple[str, ...]


@dataclass(frozen=True)
class ProbeFact:
    """Whether a guest boots under KVM, the reason, the kernel that was probed, and whether the result was cached."""

    accelerator: Accelerator
    reason: str
    kernel: str
    cached: bool


@dataclass(frozen=True)
class ProbeRequest(Request[ProbeFact]):
    """Read the result of the KVM probe; the probe guest boots when it is not known."""


VfUse = Literal["free", "guest", "host"]
"""The user of a virtual function: none, a guest, or the host itself."""


@dataclass(frozen=True)
class VfFact:
    """A virtual function as its adapter reports it: number from 0, PCI address, and the settings of its guest.

    `vlan` 0: untagged. `checks_source` and `is_trusted` are None where the driver does not report them. `user` is a
    domain or a network device of the host; empty for a free VF.
    """

    number: int
    address: str
    mac: str
    vlan: int
    checks_source: Optional[bool]
    is_trusted: Optional[bool]
    use: VfUse
    user: str


@dataclass(frozen=True)
class AdapterFact:
    """A network adapter: how many VFs it supports (0: none), and its present VFs.

    `problem` is the reason why no guest can use a VF of it now; empty when guests can.
    """

    device: str
    most: int
    problem: str
    vfs: Tuple[VfFact, ...]


@dataclass(frozen=True)
class AdapterFacts:
    """The adapters of the request, in its order."""

    adapters: Tuple[AdapterFact, ...]


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter and the number of VFs that it needs; 0 changes nothing."""

    device: str
    count: int = 0


@dataclass(frozen=True)
class AdaptersRequest(Request[AdapterFacts]):
    """Read the virtual functions of the adapters; with counts, make so many first."""

    adapters: Tuple[AdapterSpec, ...]


# Tokens of leases: the lease epoch of a cluster database above, a counter below (decision 31).


EPOCH_TOKENS = 2**32
"""How many tokens an epoch has. Each token of an epoch is above all tokens of earlier epochs."""
MAX_EPOCHS = 2**31
"""Epochs are below this, and their tokens below 2**63."""


def epoch_of(token: int) -> int:
    """The lease epoch that a token belongs to; 0 for tokens from before there were epochs."""
    return token // EPOCH_TOKENS
