"""New virtual machines: names, slices, addresses and disks from what is free. Pure. Source: spec §5.1–§5.4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rocks.cluster.address_plan import next_addresses
from rocks.cluster.disk_specification import DEFAULT_SIZE_GB, default_disk, path_fault, read_disk
from rocks.cluster.host_plan import Membership
from rocks.cluster.interface_rules import Subnet, check_ip, check_ip_in, check_mac
from rocks.cluster.largest_partition import largest_partition
from rocks.cluster.mac_pool import mac_number, next_macs
from rocks.cluster.names import check_host_name, printable
from rocks.cluster.records import Disk, Host
from rocks.errors import StateError, UserError

DEFAULT_MEMORY_MB = 2048
LARGEST_MEMORY_MB = 64 * 1024 * 1024
LARGEST_DISK_GB = 1_000_000
MOST_CPUS = 4096
MOST_INTERFACES = 26
IMAGE_FOLDER = "kvm/disks"
"""Below a host's largest partition, where the site names no folder for images."""

VIRT_TYPE = "hvm"
HOSTED_VM = "hosted vm"
"""The membership, in lower case, of machines that live inside a virtual cluster only: no address, no subnet."""

NEXT_FREE = "next"
"""Instead of an address: the next free one of the subnet."""


@dataclass(frozen=True)
class InterfaceRequest:
    """An interface of a machine to be: on `subnet` with `ip` (`NEXT_FREE`: any), on a VLAN, with a MAC or any."""

    subnet: Subnet | None = None
    ip: str | None = None
    vlan: int | None = None
    mac: str | None = None


@dataclass(frozen=True)
class VmRequest:
    """A machine to be, as far as it was asked for; None is what the plan chooses."""

    container: Host
    membership: Membership
    interfaces: tuple[InterfaceRequest, ...]
    name: str | None = None
    slice: int | None = None
    cpus: int = 1
    memory_mb: int = DEFAULT_MEMORY_MB
    disk_size_gb: int = DEFAULT_SIZE_GB
    disk: str | None = None
    run_action: str | None = "os"
    install_action: str = "install"


@dataclass(frozen=True)
class NewVm:
    """A machine as it will be stored. Interfaces are eth0, eth1 … in order, each with its MAC."""

    name: str
    membership: Membership
    container: str
    cpus: int
    rack: int
    rank: int
    run_action: str | None
    install_action: str
    memory_mb: int
    slice: int
    interfaces: tuple[InterfaceRequest, ...]
    disks: tuple[Disk, ...]


@dataclass
class SiteInventory:
    """What is taken on the site; a plan adds what it takes itself. Names and containers in lower case.

    `appliances` are words that no machine may be called; `partitions` (mount point, size) belong to the containers,
    as do `carriers`: the networks that each has a device on.
    """

    names: set[str]
    macs: list[str]
    ips: list[str]
    vlans: set[int]
    slices: dict[str, set[int]] = field(default_factory=dict)
    appliances: set[str] = field(default_factory=set)
    memberships: Sequence[Membership] = ()
    partitions: Mapping[str, Sequence[tuple[str | None, str | None]]] = field(default_factory=dict)
    carriers: Mapping[str, set[str]] = field(default_factory=dict)

    def take_slice(self, container: str, wanted: int | None = None) -> int:
        """The slice, or the lowest free one, of a container."""
        used = self.slices.setdefault(container.lower(), set())
        chosen = next(n for n in range(len(used) + 1) if n not in used) if wanted is None else wanted
        used.add(chosen)
        return chosen

    def claim_ip(self, ip: str, subnet: Subnet) -> None:
        """Take this address. UserError when it is taken or not the network's."""
        check_ip(ip)
        check_ip_in(ip, subnet)
        if ip in self.ips:
            raise UserError(
                f"The ip address {ip} is in use; rocks report nextip {subnet.name} tells a free one"
            )
        self.ips.append(ip)

    def claim_mac(self, mac: str) -> None:
        """Take this address. UserError when it is taken or no Ethernet address."""
        check_mac(mac)
        number = mac_number(mac)
        if number is None:
            raise UserError(
                f"The mac address {printable(mac)} is invalid: a virtual machine's has six octets"
            )
        if number in map(mac_number, self.macs):
            raise UserError(f"The mac address {mac} is in use; leave mac= out and a free one is chosen")
        self.macs.append(mac)

    def take_ips(self, subnet: Subnet, count: int) -> list[str]:
        """The next free addresses of a network."""
        chosen = next_addresses(subnet, self.ips, count)
        self.ips += chosen
        return chosen

    def take_macs(self, base: str, mask: str, count: int) -> list[str]:
        """The next free addresses of the site's pool."""
        chosen = next_macs(base, mask, self.macs, count) if count else []
        self.macs += chosen
        return chosen


def plan_vms(
    requests: Sequence[VmRequest], inventory: SiteInventory, mac_base: str, mac_mask: str
) -> list[NewVm]:
    """The machines that the wishes mean, each on free names, slices and addresses.

    UserError for a name, address or disk that is taken or none; StateError where the site has too few of something
    or a container has no place for disks.
    """
    wanted = [interface for request in requests for interface in request.interfaces]
    free = _take_addresses(wanted, inventory, mac_base, mac_mask)
    return [_plan_vm(request, inventory, free) for request in requests]


def image_folder(container: Host, partitions: Iterable[tuple[str | None, str | None]]) -> str:
    """Where the container keeps disk images: attribute `vm_image_directory`, else its largest partition.

    StateError when it has neither, or when a disk's path cannot begin so.
    """
    directory = container.attribute("vm_image_directory")
    if directory:
        where = f"the attribute vm_image_directory of {container.name}"
    else:
        mount = largest_partition(partitions)
        if mount is None:
            raise StateError(
                f"could not find a partition on host ({container.name}) to hold the VM's disk image; name a folder: "
                "rocks set attr vm_image_directory /path, or give disk="
            )
        where = f"the largest partition of {container.name}"
        directory = f"{mount.rstrip('/')}/{IMAGE_FOLDER}"
    fault = path_fault(f"{directory.rstrip('/')}/image")
    if fault:
        raise StateError(f"{where} cannot hold disk images: the path {fault}; give disk=")
    return directory


@dataclass(frozen=True)
class _FreeAddresses:
    """Addresses that nobody has, taken for the machines to be: MACs, and IP addresses by network."""

    macs: Iterator[str]
    ips: Mapping[Subnet, Iterator[str]]


def _take_addresses(
    wanted: Sequence[InterfaceRequest], inventory: SiteInventory, mac_base: str, mac_mask: str
) -> _FreeAddresses:
    """Claim what was asked for by name before anything is chosen, so that it is not chosen for another interface."""
    for interface in wanted:
        if interface.mac:
            inventory.claim_mac(interface.mac)
        if interface.subnet is not None and interface.ip not in (None, NEXT_FREE):
            inventory.claim_ip(str(interface.ip), interface.subnet)
    macs = inventory.take_macs(mac_base, mac_mask, sum(1 for interface in wanted if not interface.mac))
    counts = Counter(i.subnet for i in wanted if i.subnet is not None and i.ip == NEXT_FREE)
    ips = {subnet: iter(inventory.take_ips(subnet, count)) for subnet, count in counts.items()}
    return _FreeAddresses(iter(macs), ips)


def _plan_vm(request: VmRequest, inventory: SiteInventory, free: _FreeAddresses) -> NewVm:
    container = request.container
    rack, rank = container.rack or 0, container.rank or 0
    name, slice_number = _choose_name(request, inventory, f"{request.membership.appliance}-{rack}-{rank}")
    check_host_name(name, inventory.appliances)
    inventory.names.add(name.lower())
    if request.disk:
        disk = read_disk(request.disk, request.disk_size_gb)
    else:
        folder = image_folder(container, inventory.partitions.get(container.name.lower(), ()))
        disk = default_disk(name, folder, request.disk_size_gb)
    return NewVm(
        name=name,
        membership=request.membership,
        container=container.name,
        cpus=request.cpus,
        rack=rack,
        rank=rank,
        run_action=request.run_action,
        install_action=request.install_action,
        memory_mb=request.memory_mb,
        slice=slice_number,
        interfaces=tuple(_plan_interface(interface, free) for interface in request.interfaces),
        disks=(disk,),
    )


def _choose_name(request: VmRequest, inventory: SiteInventory, place: str) -> tuple[str, int]:
    container = request.container.name
    used = inventory.slices.get(container.lower(), set())
    if request.slice is not None and request.slice in used:
        raise UserError(
            f"slice {request.slice} of {container} is in use; leave slice= out and a free one is chosen"
        )
    if request.name is not None:
        if request.name.lower() in inventory.names:
            raise UserError(
                f"nodename ({printable(request.name)}) is already in the databaase; choose another name"
            )
        return request.name, inventory.take_slice(container, request.slice)
    if request.slice is not None:
        name = f"{place}-{request.slice}"
        if name.lower() in inventory.names:
            raise UserError(
                f"nodename ({name}) is already in the databaase; choose another slice, or give name="
            )
        return name, inventory.take_slice(container, request.slice)
    number = 0
    while number in used or f"{place}-{number}".lower() in inventory.names:
        number += 1
    return f"{place}-{number}", inventory.take_slice(container, number)


def _plan_interface(request: InterfaceRequest, free: _FreeAddresses) -> InterfaceRequest:
    ip = None
    if request.subnet is not None:
        ip = next(free.ips[request.subnet]) if request.ip == NEXT_FREE else request.ip
    return InterfaceRequest(request.subnet, ip, request.vlan, request.mac or next(free.macs))
