"""Add virtual machines to physical hosts, in the database alone: no host is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import check_new_host_name, printable
from rocks.core.values import read_number
from rocks.inventory.address_records import SOURCES, split_addresses
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.disks.partition_rules import largest_partition
from rocks.inventory.disks.places import IMAGE_FOLDER
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.limits import DEFAULT_VM_CPUS
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.mac_pool import MASK, base_from_address, mac_number, next_macs
from rocks.inventory.new_host_parameters import Membership, existing_membership
from rocks.inventory.records import Disk, Host
from rocks.leases.fences import check_addition
from rocks.machine.disks import default_disk, path_fault, read_disk
from rocks.machine.limits import DEFAULT_DISK_GB, DEFAULT_MEMORY_MB
from rocks.machine.record import VIRT_TYPE, insert_vms, networks_of_vlans
from rocks.network.cluster_vlans import HostVlan, record_host_vlans
from rocks.network.dns.changes import names_after_commit
from rocks.network.interface_rules import Subnet, address_in_use, check_ip, check_ip_in, check_mac
from rocks.network.interfaces import claim_frontends_vlan
from rocks.network.limits import MAX_VLAN_ID
from rocks.network.network_rules import next_addresses, unknown_network

if TYPE_CHECKING:
    from rocks.database.connection import Database


# Plan new virtual machines: free names, slices, addresses and disks.
#
# A machine gets the lowest slice that no machine of its host has and whose generated name is free, under a lock
# of the inventory. The highest plus one, as in Rocks, would lose numbers. A name whose lease is held cannot
# start yet.

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

    def take_slice(self, container: str, requested: int | None) -> int:
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


# Names, addresses, VLAN ids and slices in use at the site, and the free resources of its hosts.

_Cells = tuple[str, ...]

_SITE: tuple[tuple[str, _Cells, str], ...] = (
    ("name", ("Name",), "nodes"),
    ("name", ("Name",), "aliases"),
    ("name", ("i.Name",), "networks i JOIN nodes n ON n.ID = i.Node WHERE i.Name <> n.Name"),
    ("appliance", ("Name",), "appliances"),
    (
        "membership",
        ("m.Name", "a.Name", "CAST(m.ID AS CHAR)", "a.OS"),
        "memberships m JOIN appliances a ON a.ID = m.Appliance",
    ),
    ("mac", ("MAC",), "networks WHERE MAC IS NOT NULL"),
    ("ip", ("IP",), "networks WHERE IP IS NOT NULL"),
    ("vlan", ("CAST(VlanID AS CHAR)",), "networks WHERE VlanID > 0 GROUP BY VlanID"),
    ("vlan", ("CAST(VlanID AS CHAR)",), "cluster_vlans"),
    ("vlan", ("SUBSTRING(Device, 5)",), "networks WHERE Device REGEXP '^vlan[0-9]{1,4}$' GROUP BY Device"),
)
"""(kind, columns, FROM clause), for the whole site."""

_CONTAINERS: tuple[tuple[str, _Cells, str], ...] = (
    (
        "partition",
        ("n.Name", "r.Mountpoint", "r.PartitionSize"),
        "partitions r JOIN nodes n ON n.ID = r.Node",
    ),
    (
        "carrier",
        ("n.Name", "s.name"),
        "networks i JOIN nodes n ON n.ID = i.Node AND LEFT(i.Device, 4) <> 'vlan'"
        " JOIN subnets s ON s.ID = i.Subnet",
    ),
    ("slice", ("n.Name", "CAST(v.Slice AS CHAR)"), "vm_nodes v JOIN nodes n ON n.ID = v.PhysNode"),
)
"""(kind, columns, FROM clause), for named hosts `n`."""

_MAX_CELLS = 4


def read_inventory(database: Database, containers: Sequence[str]) -> SiteInventory:
    """The names and numbers in use at the whole site, its memberships, and the containers' resources; one statement.

    A VLAN is in use when an interface is on it, a cluster has it, or some host has a device of its name.
    """
    found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for kind, *cells in _read(database, containers):
        found[kind].append(tuple(cells))
    slices: defaultdict[str, set[int]] = defaultdict(set)
    partitions: defaultdict[str, list[tuple[str | None, str | None]]] = defaultdict(list)
    carriers: defaultdict[str, set[str]] = defaultdict(set)
    for host, number, *_ in found["slice"]:
        slices[host.lower()].add(int(number))
    for host, mount, size, _ in found["partition"]:
        partitions[host.lower()].append((mount, size))
    for host, network, *_ in found["carrier"]:
        carriers[host.lower()].add(network)
    return SiteInventory(
        names={name.lower(): name for name in _first(found, "name")},
        macs=_first(found, "mac"),
        ips=_first(found, "ip"),
        reserved_ips=split_addresses(_first(found, "reserved")),
        vlans={int(vlan) for vlan in _first(found, "vlan")},
        slices=dict(slices),
        appliances={name.lower() for name in _first(found, "appliance")},
        memberships=tuple(
            Membership(int(number), name, appliance, system or "linux")
            for name, appliance, number, system in found["membership"]
        ),
        partitions=dict(partitions),
        carriers=dict(carriers),
    )


def other_with_slice(database: Database, vm: str, container: str, number: int) -> str | None:
    """A virtual machine other than `vm` that has the slice of the physical host."""
    rows = database.rows(
        "SELECT n.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
        " WHERE p.Name = %s AND v.Slice = %s AND n.Name <> %s ORDER BY n.ID",
        (container, number, vm),
    )
    return str(rows[0][0]) if rows else None


def load_subnets(database: Database) -> dict[str, tuple[int, Subnet]]:
    """Network in lower case → (ID, network)."""
    rows = database.rows("SELECT ID, name, subnet, netmask FROM subnets")
    return {
        str(name).lower(): (int(i), Subnet(str(name), subnet or "", mask or ""))
        for i, name, subnet, mask in rows
    }


def _read(database: Database, containers: Sequence[str]) -> list[tuple[Any, ...]]:
    branches = [_branch(kind, cells, source) for kind, cells, source in _SITE]
    branches += [_branch("reserved", (column,), source) for column, source in SOURCES]
    if containers:
        branches += [
            _branch(kind, cells, f"{source} WHERE n.Name IN %s") for kind, cells, source in _CONTAINERS
        ]
    values = [containers] * len(_CONTAINERS) if containers else ()
    return database.rows(" UNION ALL ".join(branches), values)


def _branch(kind: str, cells: _Cells, source: str) -> str:
    columns = [*cells, *["NULL"] * (_MAX_CELLS - len(cells))]
    return f"SELECT '{kind}', {', '.join(columns)} FROM {source}"


def _first(found: Mapping[str, list[tuple[Any, ...]]], kind: str) -> list[str]:
    return [str(cells[0]) for cells in found.get(kind, ())]


# Add machines, in the database alone.

MAX_INTERFACES = 26


DEFAULT_NETWORK = "private"


@dataclass(frozen=True)
class VmParameters:
    """The parameters of `rocks add host vm`; None for parameters not given."""

    membership: str
    name: str | None = None
    ip: str | None = None
    subnet: str | None = None
    memory_mb: int = DEFAULT_MEMORY_MB
    cpus: int = DEFAULT_VM_CPUS
    slice: str | None = None
    mac: str | None = None
    interfaces: str = "1"
    disk: str | None = None
    disk_size_gb: int = DEFAULT_DISK_GB
    vlans: str | None = None
    virt_type: str = "hvm"


def add_vms(database: Database, containers: Sequence[str], parameters: VmParameters) -> list[NewVm]:
    """Add one virtual machine to each named physical host.

    UserError for an invalid parameter, a value in use, or a frontend on the VLAN of another cluster; StateError when
    the site has no free address or no folder for images; then nothing is added.
    """
    if not containers:
        raise UserError("must supply at least one host; the given selectors match none")
    for word, value in (
        ("name", parameters.name),
        ("ip", parameters.ip),
        ("slice", parameters.slice),
        ("mac", parameters.mac),
    ):
        if value and len(containers) > 1:
            raise UserError(f"can't supply the '{word}' parameter with more than one host")
    check_virt_type(parameters.virt_type)
    hosts = load_containers(database, containers)
    subnets = load_subnets(database)
    lock_inventory(database)
    inventory = read_inventory(database, containers)
    membership = existing_membership(parameters.membership, inventory.memberships)
    interfaces = _read_interfaces(
        parameters, membership, {name: subnet for name, (_, subnet) in subnets.items()}
    )
    requests = [
        VmRequest(
            container=host,
            membership=membership,
            interfaces=interfaces,
            name=parameters.name or None,
            slice=read_number("slice", parameters.slice, 0) if parameters.slice else None,
            cpus=parameters.cpus,
            memory_mb=parameters.memory_mb,
            disk_size_gb=parameters.disk_size_gb,
            disk=parameters.disk or None,
        )
        for host in hosts
    ]
    new = plan_new_vms(requests, inventory)
    check_addition(database, [vm.name for vm in new])
    insert_vms(database, new, {subnet.name: number for number, subnet in subnets.values()})
    _give_vlans(database, new)
    names_after_commit(database)
    return new


def _give_vlans(database: Database, new: Sequence[NewVm]) -> None:
    """Their hosts carry the VLANs of the machines from now on, on the networks on which others carry them.

    The VLANs of frontends become those of their clusters. UserError when another cluster is on one of them.
    """
    vlans = {interface.vlan for vm in new for interface in vm.interfaces if interface.vlan}
    if vlans:
        for vlan in sorted(vlans):
            claim_frontends_vlan(database, [vm.name for vm in new], vlan)
        networks = networks_of_vlans(database, sorted(vlans))
        hosts = dict.fromkeys(vm.container for vm in new)
        record_host_vlans(
            database, [HostVlan(host, vlan, networks[vlan]) for host in hosts for vlan in sorted(networks)]
        )


def plan_new_vms(requests: Sequence[VmRequest], inventory: SiteInventory) -> list[NewVm]:
    """As `plan_vms`, with the MAC pool of the site's attributes."""
    return plan_vms(requests, inventory, *_mac_pool(requests[0].container.attributes))


def next_mac(database: Database) -> str:
    """The MAC address that the next virtual machine would get; it is not reserved."""
    base, mask = _mac_pool(global_attributes(database))
    return read_inventory(database, ()).take_macs(base, mask, 1)[0]


def load_containers(database: Database, names: Sequence[str]) -> list[Host]:
    """The named hosts, which get virtual machines. Errors as of `check_container`."""
    hosts = load_hosts(database, names)
    for host in hosts:
        check_container(host)
    return hosts


def check_virt_type(text: str) -> None:
    """UserError unless the kind of virtualization is that of KVM."""
    if text.lower() != VIRT_TYPE:
        raise UserError(f'KVM supports only hvm virtualization, not "{printable(text)}"')


def _read_interfaces(
    parameters: VmParameters, membership: Membership, subnets: dict[str, Subnet]
) -> tuple[InterfaceRequest, ...]:
    """The interfaces; only the first has an address, and none when the machine is inside a virtual cluster."""
    if not parameters.interfaces.isdigit():
        raise UserError(
            f'the num_macs parameter must be an integer, not "{printable(parameters.interfaces)}"'
        )
    count = read_number("num-macs", parameters.interfaces, 1, MAX_INTERFACES)
    vlans = [_read_vlan(text) for text in (parameters.vlans or "").split(",")] if parameters.vlans else []
    if len(vlans) > count:
        raise UserError(
            f'vlan "{printable(parameters.vlans or "")}" names {len(vlans)} VLANs for {count} interfaces; '
            f"add num-macs={len(vlans)}"
        )
    vlans += [None] * (count - len(vlans))
    is_hosted = membership.name.lower() == HOSTED_VM
    subnet = None
    if not is_hosted:
        name = parameters.subnet or DEFAULT_NETWORK
        subnet = subnets.get(name.lower())
        if subnet is None:
            raise unknown_network(name, subnets)
    for given, value in (("ip", parameters.ip), ("subnet", parameters.subnet)):
        if is_hosted and value:
            raise UserError(
                f"a machine of membership {membership.name} has no address of the site; give no {given}="
            )
    ip = (parameters.ip or "").strip("'") or NEXT_FREE
    first = InterfaceRequest(subnet, ip if subnet else None, vlans[0], parameters.mac or None)
    return (first, *(InterfaceRequest(vlan=vlan) for vlan in vlans[1:]))


def _read_vlan(text: str) -> int | None:
    if text.lower() in ("none", "null", ""):
        return None
    try:
        return read_number("vlan", text, 0, MAX_VLAN_ID)
    except UserError:
        raise UserError(
            f'vlan "{printable(text)}" must be an integer from 0 to {MAX_VLAN_ID}, or none'
        ) from None


def _mac_pool(attributes: Mapping[str, str]) -> tuple[str, str]:
    """(base, mask) of the site's MAC addresses; StateError when an attribute is not set."""
    public_address = attributes.get("Kickstart_PublicAddress")
    for what, attribute, value in (
        ("address", "vm_mac_base_addr", base_from_address(public_address) if public_address else "VALUE"),
        ("address mask", "vm_mac_base_addr_mask", MASK),
    ):
        if not attributes.get(attribute):
            raise StateError(f"no VM MAC base {what} is defined; set it: rocks set attr {attribute} {value}")
    return attributes["vm_mac_base_addr"], attributes["vm_mac_base_addr_mask"]
