"""Add virtual machines to physical hosts, in the database alone: no host is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import read_number
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.limits import DEFAULT_VM_CPUS
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.mac_pool import MASK, base_from_address
from rocks.inventory.new_host_parameters import Membership, existing_membership
from rocks.leases.fences import check_addition
from rocks.machine import in_use_records
from rocks.machine import record as vm_changes
from rocks.machine.addition_plan import (
    HOSTED_VM,
    NEXT_FREE,
    InterfaceRequest,
    NewVm,
    VmRequest,
    check_container,
    plan_vms,
)
from rocks.machine.limits import DEFAULT_DISK_GB, DEFAULT_MEMORY_MB
from rocks.machine.record import VIRT_TYPE, networks_of_vlans
from rocks.network.cluster_vlans import HostVlan, record_host_vlans
from rocks.network.dns.changes import names_after_commit
from rocks.network.interfaces import claim_frontends_vlan
from rocks.network.limits import MAX_VLAN_ID
from rocks.network.network_rules import unknown_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Host
    from rocks.machine.addition_plan import SiteInventory
    from rocks.network.interface_rules import Subnet

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
    subnets = in_use_records.load_subnets(database)
    lock_inventory(database)
    inventory = in_use_records.read_inventory(database, containers)
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
    vm_changes.insert_vms(database, new, {subnet.name: number for number, subnet in subnets.values()})
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
    return in_use_records.read_inventory(database, ()).take_macs(base, mask, 1)[0]


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
