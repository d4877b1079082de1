"""Frozen records of the cluster database: hosts, interfaces, disks, virtual machines, leases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Network:
    """A row of `subnets`: an IPv4 network, its DNS zone and its MTU in bytes."""

    name: str
    subnet: str
    netmask: str
    mtu_bytes: int
    dns_zone: str
    serves_dns: bool


@dataclass(frozen=True)
class Interface:
    """A row of `networks`, with what its subnet adds (netmask, MTU); empty fields are None.

    On a physical host a device `vlan<N>` says that VLAN N leaves the host through the other device on the same
    subnet (specification §5.5).
    """

    host: str
    device: str | None
    mac: str | None
    ip: str | None = None
    name: str | None = None
    subnet: str | None = None
    netmask: str | None = None
    mtu_bytes: int | None = None
    vlan: int | None = None
    module: str | None = None
    options: str | None = None
    channel: str | None = None
    kvm_disabled: bool = False

    @property
    def is_vlan(self) -> bool:
        """Whether this is a physical host's entry for a VLAN that it carries."""
        return bool(self.device and self.device.startswith("vlan"))

    def has_option(self, word: str) -> bool:
        """Whether `word` is one of the blank- or comma-separated options."""
        return word in (self.options or "").replace(",", " ").split()


@dataclass(frozen=True)
class Disk:
    """A row of `vm_disks`: `type:path,device,bus`, size in GB of 1000³ bytes."""

    type: str
    prefix: str
    name: str
    device: str
    bus: str
    size_gb: int

    @property
    def path(self) -> str:
        """Absolute path on the container; a block device's is kept whole in the name."""
        return f"{self.prefix.rstrip('/')}/{self.name}" if self.prefix else self.name

    @property
    def is_block(self) -> bool:
        """Whether the disk is a block device that is there already."""
        return self.type == "phy"

    @property
    def specification(self) -> str:
        """The text of which it was made."""
        return f"{self.type}:{self.path},{self.device},{self.bus}"


@dataclass(frozen=True)
class Host:
    """A row of `nodes` with its membership, appliance, next boot and resolved attributes."""

    name: str
    membership: str
    appliance: str
    cpus: int
    rack: int | None
    rank: int | None
    run_action: str | None = None
    install_action: str | None = None
    boot_action: str | None = None
    interfaces: tuple[Interface, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_virtual: bool = False

    def attribute(self, name: str, default: str = "") -> str:
        """The resolved value of an attribute, or `default`."""
        return self.attributes.get(name, default)

    def is_true(self, name: str) -> bool:
        """Whether an attribute is one of the words that mean true."""
        return self.attribute(name).lower() in ("on", "yes", "y", "true", "1")


@dataclass(frozen=True)
class VirtualMachine:
    """A virtual machine: its node, and what `vm_nodes` and `vm_disks` add. Memory in MB of 1024² bytes."""

    host: Host
    container: Host | None
    memory_mb: int
    slice: int
    virt_type: str | None = "hvm"
    cdrom_path: str = ""
    disks: tuple[Disk, ...] = ()

    @property
    def name(self) -> str:
        """The name of its node."""
        return self.host.name


@dataclass(frozen=True)
class BootAction:
    """A row of `bootaction`: a kernel, a ramdisk and arguments under a name."""

    action: str
    kernel: str | None
    ramdisk: str | None
    arguments: str | None


@dataclass(frozen=True)
class Lease:
    """Who may run a virtual machine: the host, under a token that only grows (decision D6).

    `state` is released, starting, running or stopping; host is None when released.
    """

    name: str
    token: int
    host: str | None
    state: str
    intent: str | None = None
    reason: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether some host may be running the machine."""
        return self.state != "released"
