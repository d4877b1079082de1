"""Add a virtual cluster: a frontend and its computes on a VLAN, in one transaction, without contact to a host."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.files import open_plain
from rocks.core.names import printable
from rocks.core.public_keys import LARGEST_KEYS_BYTES, read_new_keys
from rocks.core.values import read_number
from rocks.inventory.attributes.records import attributes_of_new, insert_host_values
from rocks.inventory.attributes.rules import Member
from rocks.inventory.boot_records import set_boot_action
from rocks.inventory.host_records import LOCK_SECONDS, find_local_host, lock_inventory
from rocks.inventory.limits import DEFAULT_VM_CPUS
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.new_host_parameters import Membership, find_membership
from rocks.leases.fences import check_addition
from rocks.library.guest_images import (
    ADDRESS_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    KEYS_ATTRIBUTE,
    check_disk_size,
    check_source_name,
)
from rocks.library.library_folder import find_source, lock_images
from rocks.library.seed_documents import plan_addresses
from rocks.machine import add
from rocks.machine.add import (
    DEFAULT_NETWORK,
    NEXT_FREE,
    InterfaceRequest,
    VmRequest,
    load_containers,
    plan_new_vms,
)
from rocks.machine.change import warn_of_sizes
from rocks.machine.documents import INSTALL_FRONTEND, PUBLIC_NETWORK
from rocks.machine.limits import DEFAULT_DISK_GB, DEFAULT_MEMORY_MB
from rocks.machine.record import VIRT_TYPE, insert_default_route, insert_vms
from rocks.machine.spec import LOCAL_TRANSPORT, Placed
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
    from rocks.library.guest_images import Source
    from rocks.machine.add import NewVm, SiteInventory
    from rocks.network.interface_rules import Subnet


# The images and keys of a new virtual cluster, which `rocks add cluster` records with it.


NO_IMAGE = "none"
_NETBOOT = "kvm_netboot"


class ClusterImages(NamedTuple):
    """The images of a cluster's frontend and computes, None for an empty disk, and the keys that may log in."""

    frontend: Source | None = None
    computes: Source | None = None
    keys: tuple[str, ...] = ()


def read_images(
    database: Database, image: str | None, compute_image: str | None, key_file: str | None
) -> ClusterImages:
    """The images of the parameters, which no other command removes until this one has ended.

    UserError or StateError for one that is not in the library, or no key.
    """
    if image is None:
        for name, value in (("compute-image", compute_image), ("key", key_file)):
            if value is not None:
                raise UserError(f"{name}= is for clusters that are made from an image; give image=NAME too")
        return ClusterImages()
    is_same = compute_image is None or compute_image.lower() == NO_IMAGE
    names = [image] if is_same else [image, str(compute_image)]
    for name in names:
        check_source_name(name)
    lock_images(database, names, LOCK_SECONDS)  # as long as for the names of the cluster
    frontend = find_source(database, image)
    computes: Source | None = frontend
    if compute_image is not None:
        is_none = compute_image.lower() == NO_IMAGE
        computes = None if is_none else find_source(database, compute_image)
    return ClusterImages(frontend, computes, () if key_file is None else _read_key_file(Path(key_file)))


def check_sizes(images: ClusterImages, new: Sequence[NewVm]) -> None:
    """StateError when a machine's disk is too small for its image."""
    for vm, source in _with_images(images, new):
        check_disk_size(vm.name, vm.disks[0], source.name, source.size_bytes)


def record_images(database: Database, images: ClusterImages, new: Sequence[NewVm], private: Subnet) -> None:
    """Give the stored machines their attributes; they boot from their disks. Statements: a constant number."""
    rows: list[tuple[str, str, str]] = []
    for vm, source in _with_images(images, new):
        rows += [(vm.name, IMAGE_ATTRIBUTE, source.name), (vm.name, _NETBOOT, "no")]
        if images.keys:
            rows.append((vm.name, KEYS_ATTRIBUTE, "\n".join(images.keys)))
    computes = new[1:] if images.computes is not None else ()
    address = IPv4Interface(f"{new[0].interfaces[0].ip}/{private.netmask}")
    for vm, inside in zip(computes, plan_addresses(address, len(computes)), strict=True):
        rows.append((vm.name, ADDRESS_ATTRIBUTE, inside))
    insert_host_values(database, rows)
    set_boot_action(database, [vm.name for vm, _ in _with_images(images, new)], "os")


def _with_images(images: ClusterImages, new: Sequence[NewVm]) -> list[tuple[NewVm, Source]]:
    """The machines that have an image, the frontend first."""
    sources = [images.frontend, *[images.computes] * (len(new) - 1)]
    return [(vm, source) for vm, source in zip(new, sources, strict=True) if source is not None]


def _read_key_file(path: Path) -> tuple[str, ...]:
    try:
        with open_plain(path) as file:
            text = file.read(LARGEST_KEYS_BYTES + 1).decode("utf-8")
        keys = read_new_keys(text)
    except OSError as error:
        raise UserError(f"the file of keys {printable(str(path))} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the file of keys {path} is not text; give that of a public key, *.pub") from None
    except UserError as error:
        raise UserError(f"the file of keys {path} is not taken: {error}") from None
    if not keys:
        raise UserError(f"the file of keys {path} has no key")
    return keys


# The physical hosts of a new cluster: those that its operator names, or VM containers that have room.


def choose_places(
    database: Database, frontend: str | None, computes: Sequence[str] | None, count: int, cpus: int
) -> list[Host]:
    """The host of the frontend, then that of each of `count` computes with so many CPUs.

    Hosts that are named are taken, those of the computes in turn, and each is checked; None chooses. The frontend goes
    to the physical frontend where that runs virtual machines, computes only where no other host does. StateError
    without a host, and the errors of `load_containers`.
    """
    if frontend is not None and computes:
        named = {
            host.name: host for host in load_containers(database, list(dict.fromkeys([frontend, *computes])))
        }
        return [named[name] for name in (frontend, *(computes[i % len(computes)] for i in range(count)))]
    taken, own = _taken_cpus(database), find_local_host(database)
    hosts = {host.name: host for host in load_hosts(database, list(taken)) if host.is_true("kvm")}
    if not hosts:
        raise StateError(
            "the site has no VM container: rocks set host attr HOST kvm true makes a host one, or name hosts by "
            "fe-container= and container-hosts="
        )
    free = {name: host.cpus - taken[name] for name, host in hosts.items()}
    others = {name: number for name, number in free.items() if name != own} or free
    first = frontend or (own if own in hosts else place_in_turn(free, 1, 1)[0])
    turn = (
        [computes[i % len(computes)] for i in range(count)]
        if computes
        else place_in_turn(others, count, cpus)
    )
    missing = [name for name in dict.fromkeys((first, *turn, *(computes or ()))) if name not in hosts]
    hosts |= {host.name: host for host in load_containers(database, missing)}
    return [hosts[name] for name in (first, *turn)]


def place_in_turn(free: Mapping[str, int], count: int, cpus: int) -> list[str]:
    """A host for each of `count` machines: in turn, without hosts that lack free CPUs as long as one has them."""
    left, turn, places = dict(free), list(free), list[str]()
    for _ in range(count):
        place = next((host for host in turn if left[host] >= cpus), turn[0])
        turn.remove(place)
        turn.append(place)
        left[place] -= cpus
        places.append(place)
    return places


def _taken_cpus(database: Database) -> dict[str, int]:
    """Physical host → the CPUs of the machines that are recorded there."""
    rows = database.rows(
        "SELECT p.Name, COALESCE(SUM(n.CPUs), 0) FROM nodes p LEFT JOIN vm_nodes v ON v.PhysNode = p.ID"
        " LEFT JOIN nodes n ON n.ID = v.Node"
        " WHERE NOT EXISTS (SELECT 1 FROM vm_nodes own WHERE own.Node = p.ID) GROUP BY p.ID, p.Name ORDER BY p.ID"
    )
    return {str(name): int(count) for name, count in rows}


# Add a virtual cluster: a frontend and its computes on a VLAN, in one transaction, without contact to a host.


MAX_COMPUTES = 4000
"""The most computes of a cluster."""

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
    networks = add.load_subnets(database)
    vlan_network = _network(networks, parameters.network)
    private, public = _network(networks, DEFAULT_NETWORK), _network(networks, PUBLIC_NETWORK)
    hosts = choose_places(
        database, parameters.frontend_container, parameters.compute_containers, count, parameters.cpus
    )
    containers = {host.name: host for host in hosts}
    _check_local_vlans(containers.values())
    lock_inventory(database)
    inventory = add.read_inventory(database, list(containers))
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
    insert_vms(database, new, subnet_ids, host_vlans)
    claim_vlan(database, vlan, new[0].name)
    if images.frontend:
        record_images(database, images, new, private)
    names_after_commit(database)
    if gateway:
        insert_default_route(database, new[0].name, gateway)
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
