"""Add a virtual cluster: a frontend and its computes on a VLAN, in one transaction, without contact to a host."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rocks.cluster.images import check_sizes, read_images, record_images
from rocks.cluster.placement import choose_places
from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import read_number
from rocks.inventory.attributes.records import attributes_of_new
from rocks.inventory.attributes.rules import Member
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.limits import DEFAULT_VM_CPUS
from rocks.inventory.new_host_parameters import Membership, find_membership
from rocks.leases.fences import check_addition
from rocks.library.guest_images import KEYS_ATTRIBUTE
from rocks.machine import change_records as vm_changes
from rocks.machine import in_use_records
from rocks.machine.addition_plan import NEXT_FREE, InterfaceRequest, VmRequest
from rocks.machine.change_records import VIRT_TYPE
from rocks.machine.changes import warn_of_sizes
from rocks.machine.domain.documents import INSTALL_FRONTEND, PUBLIC_NETWORK
from rocks.machine.limits import DEFAULT_DISK_GB, DEFAULT_MEMORY_MB
from rocks.machine.machines import DEFAULT_NETWORK, plan_new_vms
from rocks.machine.maxima import Placed
from rocks.machine.spec import LOCAL_TRANSPORT
from rocks.network.cluster_vlans import HostVlan, claim_vlan
from rocks.network.dns.changes import names_after_commit
from rocks.network.infiniband.partitions import add_new_clusters_partition, check_pkey_value
from rocks.network.interface_rules import check_ip
from rocks.network.limits import LEAST_VLAN_ID, MAX_VLAN_ID
from rocks.network.network_rules import unknown_network
from rocks.network.vlan_pool import POOL_ATTRIBUTE, plan_vlan, read_pool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.attributes.rules import Resolved
    from rocks.inventory.records import Host
    from rocks.machine.addition_plan import NewVm, SiteInventory
    from rocks.network.interface_rules import Subnet

MAX_COMPUTES = 4000
"""Of a cluster."""

COMPUTE_CPUS = 1
COMPUTE_MEMORY_MB = 1024
"""CPUs and memory of a compute of a new cluster, where the operator gives no others.

The help of `rocks add cluster` has them, too. Its disk, and what its frontend has: `machine.limits` and
`inventory.limits`."""

GATEWAY_ATTRIBUTE = "Kickstart_PublicGateway"


@dataclass(frozen=True)
class ClusterParameters:
    """The parameters of `rocks add cluster`; None for parameters not given. Hosts are names of the database.

    `network` is the network whose devices carry the VLAN of the cluster; `pkey` may be `none`.
    """

    ip: str
    computes: str
    frontend_container: str | None = None
    compute_containers: Sequence[str] | None = None
    cpus: int = COMPUTE_CPUS
    memory_mb: int = COMPUTE_MEMORY_MB
    compute_disk_gb: int = DEFAULT_DISK_GB
    frontend_disk_gb: int = DEFAULT_DISK_GB
    frontend_cpus: int = DEFAULT_VM_CPUS
    frontend_memory_mb: int = DEFAULT_MEMORY_MB
    frontend_name: str | None = None
    cluster_naming: bool = False
    vlan: str | None = None
    network: str = DEFAULT_NETWORK
    gateway: str | None = None
    virt_type: str = "hvm"
    pkey: str | None = None
    image: str | None = None
    compute_image: str | None = None
    key_file: str | None = None


@dataclass(frozen=True)
class NewCluster:
    """The new cluster: the VLAN id, the frontend, the computes, warnings, and the partition key.

    `lacks_keys`: its machines have an image, and no public keys.
    """

    vlan: int
    frontend: NewVm
    computes: tuple[NewVm, ...]
    warnings: tuple[str, ...]
    pkey: int | None = None
    lacks_keys: bool = False


def add_cluster(database: Database, parameters: ClusterParameters) -> NewCluster:
    """Store the cluster. UserError or StateError, and no change, for an invalid parameter or a value in use."""
    count, requested_vlan = _check_parameters(parameters)
    images = read_images(database, parameters.image, parameters.compute_image, parameters.key_file)
    networks = in_use_records.load_subnets(database)
    vlan_network = _network(networks, parameters.network)
    private, public = _network(networks, DEFAULT_NETWORK), _network(networks, PUBLIC_NETWORK)
    hosts = choose_places(
        database, parameters.frontend_container, parameters.compute_containers, count, parameters.cpus
    )
    containers = {host.name: host for host in hosts}
    _check_local_vlans(containers.values())
    lock_inventory(database)
    inventory = in_use_records.read_inventory(database, list(containers))
    membership = _membership(inventory, "Frontend")
    site, frontends = attributes_of_new(
        database, Member("", "linux", membership.appliance, membership.name, "", "", "")
    )
    vlan = plan_vlan(requested_vlan, inventory.vlans, read_pool(site.get(POOL_ATTRIBUTE, "")))
    frontend = _frontend(parameters, hosts[0], membership, private, public, vlan)
    computes = _computes(parameters, hosts[1:], _membership(inventory, "Hosted VM"), vlan)
    new = plan_new_vms([frontend, *computes], inventory)
    check_sizes(images, new)
    check_addition(database, [vm.name for vm in new])
    gateway = parameters.gateway or _site_gateway(frontends)
    if gateway == parameters.ip:
        raise UserError(
            f"The ip address {parameters.ip} is the gateway of the frontend; give another address, or gateway="
        )
    subnet_ids = {subnet.name: number for number, subnet in networks.values()}
    host_vlans = [HostVlan(host, vlan, vlan_network.name) for host in containers]
    vm_changes.insert_vms(database, new, subnet_ids, host_vlans)
    claim_vlan(database, vlan, new[0].name)
    if images.frontend:
        record_images(database, images, new, private)
    names_after_commit(database)
    if gateway:
        vm_changes.insert_default_route(database, new[0].name, gateway)
    pkey = add_new_clusters_partition(database, new[0].name, parameters.pkey, site)
    placed = [Placed(vm.name, vm.cpus, vm.memory_mb, containers[vm.container]) for vm in new]
    sizes = warn_of_sizes(placed)
    warnings = (*_warnings(containers, inventory, vlan_network, gateway), *sizes)
    lacks_keys = bool(images.frontend and not images.keys and not site.get(KEYS_ATTRIBUTE))
    return NewCluster(vlan, new[0], tuple(new[1:]), warnings, pkey, lacks_keys)


def keys_command(frontends: Sequence[str], key_file: str | None = None) -> str:
    """What gives clusters the public keys of a file; from their frontends, root reaches the computes."""
    file = shlex.quote(key_file) if key_file else "FILE.pub"
    return (
        f'rocks set host attr {" ".join(frontends)} {KEYS_ATTRIBUTE} "$(cat {file})", before the first start'
    )


def _check_parameters(parameters: ClusterParameters) -> tuple[int, int | None]:
    """(number of computes, requested VLAN id or None)."""
    if parameters.virt_type.lower() != VIRT_TYPE:
        raise UserError(f"KVM support only 'hvm' virtualization, not \"{printable(parameters.virt_type)}\"")
    check_ip(parameters.ip)
    check_pkey_value(parameters.pkey)
    if parameters.gateway:
        check_ip(parameters.gateway)
    if parameters.cluster_naming and not parameters.frontend_name:
        raise UserError("you must select a fe-name when using cluster-naming")
    try:
        count = read_number("num-computes", parameters.computes, 0, MAX_COMPUTES)
    except UserError:
        raise UserError(
            f'num-computes must be an integer from 0 to {MAX_COMPUTES}, not "{printable(parameters.computes)}"'
        ) from None
    try:
        vlan = read_number("vlan", parameters.vlan, LEAST_VLAN_ID, MAX_VLAN_ID) if parameters.vlan else None
    except UserError:
        raise UserError(
            f"Vlan ID ({printable(parameters.vlan or '')}) must be an integer from {LEAST_VLAN_ID} to {MAX_VLAN_ID}"
        ) from None
    return count, vlan


def _network(networks: dict[str, tuple[int, Subnet]], name: str) -> Subnet:
    found = networks.get(name.lower())
    if found is None:
        raise unknown_network(name, networks)
    return found[1]


def _membership(inventory: SiteInventory, name: str) -> Membership:
    found = find_membership(name, inventory.memberships)
    if found is None:
        raise StateError(
            f'the membership "{name}" is missing from the database; add it again with rocks add appliance'
        )
    return found


def _frontend(
    parameters: ClusterParameters,
    container: Host,
    membership: Membership,
    private: Subnet,
    public: Subnet,
    vlan: int,
) -> VmRequest:
    # The view `clusters` identifies a cluster by the VLAN of its frontend on `private`, whatever network carries it.
    return VmRequest(
        container=container,
        membership=membership,
        interfaces=(
            InterfaceRequest(private, NEXT_FREE, vlan),
            InterfaceRequest(public, parameters.ip, 0),
        ),
        name=parameters.frontend_name or None,
        cpus=parameters.frontend_cpus,
        memory_mb=parameters.frontend_memory_mb,
        disk_size_gb=parameters.frontend_disk_gb,
        install_action=INSTALL_FRONTEND,
    )


def _computes(
    parameters: ClusterParameters, containers: Sequence[Host], membership: Membership, vlan: int
) -> list[VmRequest]:
    return [
        VmRequest(
            container=container,
            membership=membership,
            interfaces=(InterfaceRequest(vlan=vlan),),
            name=f"vm-{parameters.frontend_name}-{number}" if parameters.cluster_naming else None,
            cpus=parameters.cpus,
            memory_mb=parameters.memory_mb,
            disk_size_gb=parameters.compute_disk_gb,
            run_action=None,
        )
        for number, container in enumerate(containers)
    ]


def _site_gateway(attributes: Mapping[str, Resolved]) -> str | None:
    """The default gateway of the new frontend, from its attributes; None when it is not set."""
    found = attributes.get(GATEWAY_ATTRIBUTE)
    value = found.value if found else ""
    if not value:
        return None
    try:
        check_ip(value)
    except UserError as error:
        raise StateError(
            f"the attribute {GATEWAY_ATTRIBUTE} is not valid ({error}); correct it (rocks set attr) or give gateway="
        ) from None
    return value


def _check_local_vlans(hosts: Collection[Host]) -> None:
    local = [host.name for host in hosts if host.attribute("vlan_transport") == LOCAL_TRANSPORT]
    if local and len(hosts) > 1:
        raise StateError(
            f"the cluster would be spread over {', '.join(host.name for host in hosts)}, but VLANs of {local[0]} are "
            f"local (attribute vlan_transport={LOCAL_TRANSPORT}) and reach no other host; place the whole cluster "
            "on one host: fe-container= and container-hosts="
        )


def _warnings(
    containers: Iterable[str], inventory: SiteInventory, network: Subnet, gateway: str | None
) -> tuple[str, ...]:
    found = [
        f"{host} has no interface on network {network.name}, so the cluster's VLAN cannot leave it: "
        f"rocks add host interface {host} IFACE subnet={network.name}"
        for host in containers
        if network.name not in inventory.carriers.get(host.lower(), ())
    ]
    if not gateway:
        found.append(
            "the frontend has no default route: give gateway=, or set the attribute Kickstart_PublicGateway"
        )
    return tuple(found)
