"""Frozen records of the cluster database: hosts, interfaces, disks, virtual machines, leases."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.values import TRUE_VALUES, UNITS
from rocks.inventory.attributes.known import value_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.network.route_rules import ResolvedRoute

_BMC = re.compile(r"(?:ipmi|bmc)[0-9]*", re.IGNORECASE | re.ASCII)

PRIVATE_NETWORK = "private"
"""The frontend's network with its hosts; its zone is used for images without the attribute imgstorage-network."""


@dataclass(frozen=True)
class Network:
    """A row of `subnets`: an IPv4 network, its DNS zone and its MTU in bytes."""

    name: str
    subnet: str
    netmask: str
    mtu_bytes: int
    dns_zone: str
    serves_dns: bool


def is_bmc(device: str, channel: str) -> bool:
    """Whether an interface is the BMC of its host: by its device, or the number of its LAN channel, as Rocks has it.

    The channel of other interfaces is the device of a bond.
    """
    return bool(_BMC.fullmatch(device)) or (channel.isascii() and channel.isdigit())


@dataclass(frozen=True)
class Interface:
    """A row of `networks` with the netmask and MTU of its subnet; empty fields are None. `id` is the row's number.

    On a physical host a device `vlan<N>` means that VLAN N is trunked over the other device on the same subnet.
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
    id: int = field(default=0, compare=False)

    @property
    def is_bmc(self) -> bool:
        """As the function of the same name."""
        return is_bmc(self.device or "", self.channel or "")

    @property
    def is_vlan(self) -> bool:
        """Whether this is the entry of a physical host for a VLAN that it carries."""
        return bool(self.device and self.device.startswith("vlan"))

    def has_option(self, name: str) -> bool:
        """Whether the interface has the option; options are separated by blanks or commas."""
        return name in (self.options or "").replace(",", " ").split()


@dataclass(frozen=True)
class Disk:
    """A row of `vm_disks`: `type:path,device,bus`, its size in `unit`. `is_mapped`: image storage maps it."""

    type: str
    prefix: str
    name: str
    device: str
    bus: str
    size_gb: int
    is_mapped: bool = False

    @property
    def path(self) -> str:
        """The absolute path on the container; `name` is the whole path of some block devices."""
        return f"{self.prefix.rstrip('/')}/{self.name}" if self.prefix else self.name

    @property
    def unit(self) -> str:
        """GB of 1000³ bytes; GiB for a volume of a NAS."""
        return "GiB" if self.is_mapped else "GB"

    @property
    def size_bytes(self) -> int:
        """The size that the disk gets when it is made."""
        return self.size_gb * UNITS[self.unit][0]

    @property
    def is_block(self) -> bool:
        """Whether the disk is an existing block device."""
        return self.type == "phy"

    @property
    def specification(self) -> str:
        """The disk as text, `TYPE:PATH,DEVICE,BUS`."""
        return f"{self.type}:{self.path},{self.device},{self.bus}"


@dataclass(frozen=True)
class Host:
    """A row of `nodes` with its membership, appliance, next boot, resolved attributes and mounted partitions.

    `memory_mb`: what the host reported last; None for one that was never asked, and for virtual machines.
    """

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
    mounts: tuple[str, ...] = ()
    routes: tuple[ResolvedRoute, ...] = ()
    memory_mb: int | None = None

    def attribute(self, name: str, default: str | None = None) -> str:
        """The resolved value of an attribute, else `default`, else that of its row (`attributes.known`).

        Other rolls give `default` for attributes of their own.
        """
        return value_in(self.attributes, name) if default is None else self.attributes.get(name, default)

    def is_true(self, name: str) -> bool:
        """Whether the value of an attribute means true."""
        return self.attribute(name).lower() in TRUE_VALUES


@dataclass(frozen=True)
class VirtualMachine:
    """A virtual machine: its node with the rows of `vm_nodes` and `vm_disks`. Memory in MB of 1024² bytes.

    `doubted_host`: a live migration to that host was aborted, and its current disks may be there (decision 176).
    `restoring`: a restore of its disks to that snapshot has begun, and not ended.
    """

    host: Host
    container: Host | None
    memory_mb: int
    slice: int
    virt_type: str | None = "hvm"
    cdrom_path: str = ""
    disks: tuple[Disk, ...] = ()
    uuid: str = ""
    doubted_host: str | None = None
    restoring: str | None = None

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
    """The right of a host to run a virtual machine, under a token that only grows (decision 3).

    `state` is released, starting, running, stopping, saved or moving; host is None when released. `target` is the host
    to which a machine moves that is moving.
    """

    name: str
    token: int
    host: str | None
    state: str
    reason: str | None = None
    target: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether some host may be running the machine."""
        return self.state != "released"
