"""Plan new virtual machines: free names, slices, addresses and disks. Pure. Source: specification §5.1–§5.4.

A machine gets the lowest slice that no machine of its host has and whose generated name is free, under a lock
of the inventory. The highest plus one, as in Rocks, would lose numbers. A name whose lease is held cannot
start yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import check_new_host_name, printable
from rocks.inventory.disks.largest_partition import largest_partition
from rocks.inventory.disks.places import IMAGE_FOLDER
from rocks.inventory.mac_pool import mac_number, next_macs
from rocks.inventory.new_host_parameters import Membership
from rocks.inventory.records import Disk, Host
from rocks.machine.disks import default_disk, path_fault, read_disk
from rocks.machine.limits import DEFAULT_DISK_GB, DEFAULT_MEMORY_MB
from rocks.network.free_addresses import next_addresses
from rocks.network.interface_rules import Subnet, address_in_use, check_ip, check_ip_in, check_mac

HOSTED_VM = "hosted vm"
"""The membership, in lower case, of machines inside a virtual cluster, which have no address of the site."""

NEXT_FREE = "next"
"""Instead of an address: the next free address of the subnet."""


@dataclass(frozen=True)
class InterfaceRequest:
    """An interface of a new machine: `subnet` with `ip` (or `NEXT_FREE`), a VLAN, a MAC; None: the plan chooses one."""

    subnet: Subnet | None = None
    ip: str | None = None
    vlan: int | None = None
    mac: str | None = None


@dataclass(frozen=True)
class VmRequest:
    """The request for a new machine; the plan chooses the values that are None."""

    container: Host
    membership: Membership
    interfaces: tuple[InterfaceRequest, ...]
    name: str | None = None
    slice: int | None = None
    cpus: int = 1
    memory_mb: int = DEFAULT_MEMORY_MB
    disk_size_gb: int = DEFAULT_DISK_GB
    disk: str | None = None
    run_action: str | None = "os"
    install_action: str = "install"


@dataclass(frozen=True)
class NewVm:
    """A new machine, as it is stored. Interfaces are eth0, eth1 … in order, each with its MAC."""

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
    """The names, addresses and slices in use on the site; a plan adds those that it takes.

    `names` maps a name in lower case to its spelling on the site; other names are in lower case.
    `reserved_ips` are never chosen, but may be named; `appliances` are reserved names; `partitions` maps a container to
    its (mount point, size) pairs, `carriers` to the networks on which it has a device.
    """

    names: dict[str, str]
    macs: list[str]
    ips: list[str]
    vlans: set[int]
    reserved_ips: Sequence[str] = ()
    slices: dict[str, set[int]] = field(default_factory=dict)
    appliances: set[str] = field(default_factory=set)
    memberships: Sequence[Membership] = ()
    partitions: Mapping[str, Sequence[tuple[str | None, str | None]]] = field(default_factory=dict)
    carriers: Mapping[str, set[str]] = field(default_factory=dict)

    def take_slice(self, container: str, requested: int | None = None) -> int:
        """Take a slice of a container: the requested one, else the lowest free one."""
        used = self.slices.setdefault(container.lower(), set())
        chosen = next(n for n in range(len(used) + 1) if n not in used) if requested is None else requested
        used.add(chosen)
        return chosen

    def claim_ip(self, ip: str, subnet: Subnet) -> None:
        """Take this address. UserError unless it is valid, inside the network and unused."""
        check_ip(ip)
        check_ip_in(ip, subnet)
        if ip in self.ips:
            raise address_in_use("ip", ip, remedy=f"rocks report nextip {subnet.name} prints a free one")
        self.ips.append(ip)

    def claim_mac(self, mac: str) -> None:
        """Take this address. UserError unless it is an unused Ethernet address."""
        check_mac(mac)
        number = mac_number(mac)
        if number is None:
            raise UserError(
                f"The mac address {printable(mac)} is invalid: the MAC address of a virtual machine has six octets"
            )
        if number in map(mac_number, self.macs):
            raise address_in_use("mac", mac, remedy="without mac= a free one is chosen")
        self.macs.append(mac)

    def take_ips(self, subnet: Subnet, count: int) -> list[str]:
        """Take the next free addresses of a network."""
        chosen = next_addresses(subnet, [*self.ips, *self.reserved_ips], count)
        self.ips += chosen
        return chosen

    def take_macs(self, base: str, mask: str, count: int) -> list[str]:
        """Take the next free addresses of the site's pool."""
        chosen = next_macs(base, mask, self.macs, count) if count else []
        self.macs += chosen
        return chosen


def check_container(host: Host, may_lack_kvm: bool = False) -> None:
    """UserError for a virtual machine, which cannot run others. StateError for a host that is not a VM container."""
    if host.is_virtual:
        raise UserError(f"host {host.name} is a virtual machine and cannot run others; name a physical host")
    if not (may_lack_kvm or host.is_true("kvm")):
        raise StateError(
            f"{host.name} is not a VM container, so no virtual machine could start there: name one (rocks list host "
            f"vm-container lists them), or rocks set host attr {host.name} kvm true"
        )


def plan_vms(
    requests: Sequence[VmRequest], inventory: SiteInventory, mac_base: str, mac_mask: str
) -> list[NewVm]:
    """The machines for the requests, each with a free name, slice and addresses.

    UserError for a name, address or disk that is in use or not valid; StateError when the site has too few addresses
    or a container has no folder for disks.
    """
    requested = [interface for request in requests for interface in request.interfaces]
    free = _take_addresses(requested, inventory, mac_base, mac_mask)
    return [_plan_vm(request, inventory, free) for request in requests]


def image_folder(container: Host, partitions: Iterable[tuple[str | None, str | None]]) -> str:
    """The folder for disk images of a container: attribute `vm_image_directory`, else on its largest partition.

    StateError when it has neither, or when the folder is not valid in the path of a disk.
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
        raise StateError(f"{where} is not usable for disk images: the path {fault}; give disk=")
    return directory


@dataclass(frozen=True)
class _FreeAddresses:
    """Free addresses, taken for the new machines: MACs, and IP addresses by network."""

    macs: Iterator[str]
    ips: Mapping[Subnet, Iterator[str]]


def _take_addresses(
    requested: Sequence[InterfaceRequest], inventory: SiteInventory, mac_base: str, mac_mask: str
) -> _FreeAddresses:
    """Take requested addresses before any are chosen, so that none is chosen for another interface."""
    for interface in requested:
        if interface.mac:
            inventory.claim_mac(interface.mac)
        if interface.subnet is not None and interface.ip not in (None, NEXT_FREE):
            inventory.claim_ip(str(interface.ip), interface.subnet)
    macs = inventory.take_macs(mac_base, mac_mask, sum(1 for interface in requested if not interface.mac))
    counts = Counter(i.subnet for i in requested if i.subnet is not None and i.ip == NEXT_FREE)
    ips = {subnet: iter(inventory.take_ips(subnet, count)) for subnet, count in counts.items()}
    return _FreeAddresses(iter(macs), ips)


def _plan_vm(request: VmRequest, inventory: SiteInventory, free: _FreeAddresses) -> NewVm:
    container = request.container
    rack, rank = container.rack or 0, container.rank or 0
    name, slice_number = _choose_name(request, inventory, f"{request.membership.appliance}-{rack}-{rank}")
    check_new_host_name(name, inventory.appliances)
    inventory.names[name.lower()] = name
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
            f"slice {request.slice} of {container} is in use; without slice= a free one is chosen"
        )
    # the beginning of both messages is Rocks' own, with its spelling, which scripts may look for
    if request.name is not None:
        if taken := inventory.names.get(request.name.lower()):
            other_case = "" if taken == request.name else f" as {printable(taken)}"
            raise UserError(
                f"nodename ({printable(request.name)}) is already in the database{other_case}; choose another name, "
                f"or see rocks list host {printable(taken)}"
            )
        return request.name, inventory.take_slice(container, request.slice)
    if request.slice is not None:
        name = f"{place}-{request.slice}"
        if name.lower() in inventory.names:
            raise UserError(
                f"nodename ({name}) is already in the database; choose another slice, or give name="
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
