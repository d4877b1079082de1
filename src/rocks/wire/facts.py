"""What a physical host says about itself: the host, its domains, its disks, a console, the KVM probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from rocks.wire.request import Request

DomainState = Literal["running", "blocked", "paused", "shutdown", "shutoff", "crashed"]
"""A domain's state in libvirt's words; a guest that put itself to sleep counts as paused."""

Accelerator = Literal["kvm", "tcg", "unknown"]
"""How guests run on a host; unknown until the probe guest has been tried there."""


@dataclass(frozen=True)
class DiskPlace:
    """A disk of a virtual machine as the frontend knows it: an absolute path on the host."""

    path: str


@dataclass(frozen=True)
class Fence:
    """No domain `name` with a lease below `below_token` may be left on the host."""

    name: str
    below_token: int


@dataclass(frozen=True)
class DomainFact:
    """A domain as libvirt has it. `token` is None for one that was not started by this system."""

    name: str
    uuid: str
    state: DomainState
    token: Optional[int]
    memory_mb: int
    cpus: int
    autostart: bool
    persistent: bool
    has_managed_save: bool


@dataclass(frozen=True)
class DiskFact:
    """A disk's path as it is. `size_bytes` is the file's length or the device's, 0 when there is none.

    `filesystem_bytes` and `free_bytes` belong to the file system of the nearest existing parent; 0 for a
    block device.
    """

    path: str
    exists: bool
    is_block: bool
    size_bytes: int
    filesystem_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class HostFacts:
    """All that a plan needs to know of one host; `fenced` lists the fences that hold from now on."""

    hostname: str
    kernel: str
    machine: str
    memory_mb: int
    cpus: int
    has_8021q: bool
    has_filters: bool
    accelerator: Accelerator
    domains: Tuple[DomainFact, ...]
    disks: Tuple[DiskFact, ...]
    fenced: Tuple[str, ...]


@dataclass(frozen=True)
class FactsRequest(Request[HostFacts]):
    """Ask for a host's facts, and put its fences up first."""

    disks: Tuple[DiskPlace, ...] = ()
    fences: Tuple[Fence, ...] = ()


@dataclass(frozen=True)
class ConsoleFact:
    """Where a running domain's console is. None where the domain has none of that kind.

    `vnc_address` and `vnc_port` are as seen on the host; `serial_device` is a terminal, `log_path` its log.
    """

    vnc_address: Optional[str]
    vnc_port: Optional[int]
    serial_device: Optional[str]
    log_path: Optional[str]


@dataclass(frozen=True)
class ConsoleRequest(Request[ConsoleFact]):
    """Ask where the console of the running domain `name` is."""

    name: str


@dataclass(frozen=True)
class ProbeFact:
    """Whether a guest boots under KVM, why so, for which kernel, and whether that was known before."""

    accelerator: Accelerator
    reason: str
    kernel: str
    cached: bool


@dataclass(frozen=True)
class ProbeRequest(Request[ProbeFact]):
    """Ask for the KVM probe's result; `again` boots the probe guest even when the result is known."""

    again: bool = False


VfUse = Literal["free", "guest", "host"]
"""In whose hands a virtual function is: nobody's, a guest's, or the host's own."""


@dataclass(frozen=True)
class VfFact:
    """A virtual function as its adapter has it: number from 0, PCI address, what the guest in it may do.

    `vlan` 0: untagged. `checks_source` and `is_trusted` are None where the driver does not tell. `user` says who uses
    it: a domain, or the host's own network device; empty for a free one.
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
    """A network adapter: how many functions it can give (0: none), and those that are there.

    `problem` says why it can give none to a guest now; empty when it can.
    """

    device: str
    most: int
    problem: str
    functions: Tuple[VfFact, ...]


@dataclass(frozen=True)
class AdapterFacts:
    """The adapters that were asked for, in that order."""

    adapters: Tuple[AdapterFact, ...]


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter, and how many functions it is to give; 0 leaves it as it is."""

    device: str
    count: int = 0


@dataclass(frozen=True)
class AdaptersRequest(Request[AdapterFacts]):
    """Ask what the adapters' virtual functions are; with counts, have so many first."""

    adapters: Tuple[AdapterSpec, ...]
