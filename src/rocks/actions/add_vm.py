"""Add virtual machines to physical hosts: database only, no host is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.disk_specification import DEFAULT_SIZE_GB
from rocks.cluster.host_plan import Membership, find_membership
from rocks.cluster.mac_pool import MASK, base_from_address
from rocks.cluster.names import printable
from rocks.cluster.values import VLAN_HIGHEST, read_number
from rocks.cluster.vm_plan import (
    DEFAULT_MEMORY_MB,
    HOSTED_VM,
    LARGEST_DISK_GB,
    LARGEST_MEMORY_MB,
    MOST_CPUS,
    MOST_INTERFACES,
    NEXT_FREE,
    VIRT_TYPE,
    InterfaceRequest,
    NewVm,
    VmRequest,
    plan_vms,
)
from rocks.database import vm_changes, vm_inventory
from rocks.database import vms as table
from rocks.database.attributes import global_attributes
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.interface_rules import Subnet
    from rocks.cluster.records import Host
    from rocks.cluster.vm_plan import SiteInventory
    from rocks.database.connection import Database

DEFAULT_NETWORK = "private"


@dataclass(frozen=True)
class VmParameters:
    """The words of `rocks add host vm`, unread; None is what was not said."""

    membership: str
    name: str | None = None
    ip: str | None = None
    subnet: str = DEFAULT_NETWORK
    memory_mb: str = str(DEFAULT_MEMORY_MB)
    cpus: str = "1"
    slice: str | None = None
    mac: str | None = None
    interfaces: str = "1"
    disk: str | None = None
    disk_size_gb: str = str(DEFAULT_SIZE_GB)
    vlans: str | None = None
    virt_type: str = "hvm"


def add_vms(database: Database, containers: Sequence[str], words: VmParameters) -> list[NewVm]:
    """One virtual machine on each named physical host, as `words` say.

    UserError for words that are wrong or taken, StateError where the site lacks something; then nothing is added.
    """
    if not containers:
        raise UserError("must supply at least one host; those that were named mean none")
    for word, value in (("name", words.name), ("ip", words.ip), ("slice", words.slice), ("mac", words.mac)):
        if value and len(containers) > 1:
            raise UserError(f"can't supply the '{word}' parameter with more than one host")
    check_virt_type(words.virt_type)
    hosts = load_containers(database, containers)
    subnets = vm_inventory.load_subnets(database)
    vm_inventory.lock_inventory(database)
    inventory = vm_inventory.read_inventory(database, containers)
    membership = _find_membership(inventory, words.membership)
    interfaces = _read_interfaces(words, membership, {name: subnet for name, (_, subnet) in subnets.items()})
    requests = [
        VmRequest(
            container=host,
            membership=membership,
            interfaces=interfaces,
            name=words.name or None,
            slice=read_number("slice", words.slice, 0) if words.slice else None,
            cpus=read_number("cpus", words.cpus, 1, MOST_CPUS),
            memory_mb=read_number("mem", words.memory_mb, 1, LARGEST_MEMORY_MB),
            disk_size_gb=read_number("disksize", words.disk_size_gb, 1, LARGEST_DISK_GB),
            disk=words.disk or None,
        )
        for host in hosts
    ]
    new = plan_new_vms(requests, inventory)
    vm_changes.insert_vms(database, new, {subnet.name: number for number, subnet in subnets.values()})
    return new


def plan_new_vms(requests: Sequence[VmRequest], inventory: SiteInventory) -> list[NewVm]:
    """As `plan_vms`, with the MAC pool that the site's attributes name."""
    return plan_vms(requests, inventory, *_mac_pool(requests[0].container.attributes))


def next_mac(database: Database) -> str:
    """The MAC address that the next virtual machine would get; nothing is reserved."""
    base, mask = _mac_pool(global_attributes(database))
    return vm_inventory.read_inventory(database, ()).take_macs(base, mask, 1)[0]


def load_containers(database: Database, names: Sequence[str]) -> list[Host]:
    """The named hosts, which must be physical. UserError for one that is a virtual machine itself."""
    hosts = table.load_hosts(database, names)
    for host in hosts:
        if host.is_virtual:
            raise UserError(f"host {host.name} is a virtual machine and can hold none; name a physical host")
    return hosts


def check_virt_type(text: str) -> None:
    """UserError for a kind of virtualisation that KVM does not have."""
    if text.lower() != VIRT_TYPE:
        raise UserError(f'KVM supports only hvm virtualization, not "{printable(text)}"')


def _find_membership(inventory: SiteInventory, name: str) -> Membership:
    found = find_membership(name, inventory.memberships)
    if found is None:
        raise UserError(
            f"Membership {printable(name)} is not valid. rocks list membership shows those that are."
        )
    return found


def _read_interfaces(
    words: VmParameters, membership: Membership, subnets: dict[str, Subnet]
) -> tuple[InterfaceRequest, ...]:
    """Only the first interface has an address, and none has where the machine lives inside a virtual cluster."""
    if not words.interfaces.isdigit():
        raise UserError(f'the num_macs parameter must be an integer, not "{printable(words.interfaces)}"')
    count = read_number("num-macs", words.interfaces, 1, MOST_INTERFACES)
    vlans = [_read_vlan(text) for text in (words.vlans or "").split(",")] if words.vlans else []
    if len(vlans) > count:
        raise UserError(
            f'vlan "{printable(words.vlans or "")}" names {len(vlans)} VLANs for {count} interfaces; '
            f"add num-macs={len(vlans)}"
        )
    vlans += [None] * (count - len(vlans))
    is_hosted = membership.name.lower() == HOSTED_VM
    subnet = None
    if not is_hosted:
        subnet = subnets.get(words.subnet.lower())
        if subnet is None:
            raise UserError(
                f'unknown network "{printable(words.subnet)}"; rocks list network shows those that there are'
            )
    elif words.ip:
        raise UserError(
            f"a machine of membership {membership.name} has no address of the site; leave ip= out"
        )
    ip = (words.ip or "").strip("'") or NEXT_FREE
    first = InterfaceRequest(subnet, ip if subnet else None, vlans[0], words.mac or None)
    return (first, *(InterfaceRequest(vlan=vlan) for vlan in vlans[1:]))


def _read_vlan(text: str) -> int | None:
    if text.lower() in ("none", "null", ""):
        return None
    try:
        return read_number("vlan", text, 0, VLAN_HIGHEST)
    except UserError:
        raise UserError(
            f'vlan "{printable(text)}" must be an integer from 0 to {VLAN_HIGHEST}, or none'
        ) from None


def _mac_pool(attributes: Mapping[str, str]) -> tuple[str, str]:
    """(base, mask) of the site's MAC addresses; StateError naming what is not set."""
    public_address = attributes.get("Kickstart_PublicAddress")
    for what, attribute, value in (
        ("address", "vm_mac_base_addr", base_from_address(public_address) if public_address else "VALUE"),
        ("address mask", "vm_mac_base_addr_mask", MASK),
    ):
        if not attributes.get(attribute):
            raise StateError(f"no VM MAC base {what} is defined; set it: rocks set attr {attribute} {value}")
    return attributes["vm_mac_base_addr"], attributes["vm_mac_base_addr_mask"]
