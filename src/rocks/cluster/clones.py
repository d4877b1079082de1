"""Add copies of a virtual cluster, all in one transaction, without contact to a host.

Each copy has names, addresses, a VLAN and disks of its own, and the shape and attributes of the original. Its disks are
made from images of the library, as those of any cluster with an image; those of an original on NASes are cloned there.

The original's disks are not copied from host to host, which would be the same transfer for each clone, and
are no overlays, which would depend on one file for ever. What the original has beyond a cluster of `rocks add
cluster` is refused, not left out silently.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.addition import COMPUTE_CPUS, COMPUTE_MEMORY_MB, ClusterParameters, add_cluster
from rocks.cluster.images import NO_IMAGE
from rocks.cluster.volume_clones import NasClone, create_volumes, disks_on_nas, record_places
from rocks.core.dataclasses import dataclass
from rocks.core.errors import CLASSES, RocksError, StateError, UserError
from rocks.inventory.attributes import records as attributes
from rocks.inventory.attributes.secret_names import is_secret
from rocks.inventory.cluster_records import members, own_clusters_of
from rocks.inventory.inventory_lock import lock_inventory, unlock_inventory
from rocks.library.guest_images import (
    ADDRESS_ATTRIBUTE,
    CLUSTER_KEY_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    INSTANCE_ATTRIBUTE,
    KEYS_ATTRIBUTE,
    check_source_name,
)
from rocks.machine import in_use_records
from rocks.machine import records as table
from rocks.machine.domain.documents import PUBLIC_NETWORK
from rocks.machine.limits import DEFAULT_DISK_GB
from rocks.network.free_addresses import next_addresses
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import unknown_network
from rocks.network.route_records import default_gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rocks.cluster.addition import NewCluster
    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.volumes.places import DiskLocation

_OWN = (IMAGE_ATTRIBUTE, ADDRESS_ATTRIBUTE, CLUSTER_KEY_ATTRIBUTE, INSTANCE_ATTRIBUTE, "kvm_netboot")
"""Attributes that each machine gets anew."""


@dataclass(frozen=True)
class CloneParameters:
    """The parameters of `rocks clone cluster`; None for those not given. `containers` are names of the database.

    With `count`, one address is the first of the search for free ones; without, there is a clone for each address.
    """

    source: str
    addresses: Sequence[str]
    count: int | None = None
    name: str | None = None
    image: str | None = None
    compute_image: str | None = None
    key_file: str | None = None
    containers: Sequence[str] = ()


class Clone(NamedTuple):
    """A clone: its frontend, its public address, and whether it has no public keys.

    `cluster` is None when it was there before.
    """

    frontend: str
    ip: str
    cluster: NewCluster | None
    lacks_keys: bool


class _Shape(NamedTuple):
    """What all clones have: machines of the original, images, and the gateway."""

    frontend: VirtualMachine
    computes: tuple[VirtualMachine, ...]
    image: str
    compute_image: str | None
    gateway: str | None
    disks: Mapping[str, DiskLocation]
    """The places of the original's disks, if these are cloned on their NASes; empty otherwise."""


_CHANGED = "another command has changed the site while the NASes made the disks; nothing was added: repeat the command"


def clone_clusters(
    database: Database,
    parameters: CloneParameters,
    notify: Callable[[str], None],
    progress: Callable[[str], None] = lambda line: None,
) -> list[Clone]:
    """Store the clones that are missing; the others stay as they are, so that a repeated command adds nothing.

    Machines of other clusters on the VLAN of the original are named by `notify`, and not cloned.

    The disks of an original on NASes are cloned there, after a first attempt to store the clones, which is undone:
    nothing may wait for a NAS with changes open, or with the lock of the site's names. What it found is compared after.

    UserError or StateError, and no change, for an invalid parameter, an original that cannot be cloned, too few
    addresses or VLANs, or names that another command has taken meanwhile.
    """
    shape = _read_shape(database, parameters, notify)
    names = _names(parameters)
    lock_inventory(database)
    present = members(database, names)
    missing = [name for name in names if name not in present]
    addresses = _addresses(database, parameters, names, missing)
    known = {vm.name: vm for vm in table.load_vms(database, [name for name in names if name in present])}
    copied = attributes.read_attributes(
        database, "host", [shape.frontend.name, *(vm.name for vm in shape.computes)]
    )
    add = partial(_add, database, parameters, shape, names, present, addresses, known, copied)
    clones = add()
    new = _nas_clones(shape, clones) if shape.disks else []
    if new:
        database.rollback()
        # a NAS may take minutes, and other commands wait for the lock
        unlock_inventory(database)
        create_volumes(database, shape.disks, new, progress)
        lock_inventory(database)
        if set(members(database, names)) != set(present):
            raise StateError(_CHANGED)
        clones = add()
        if _nas_clones(shape, clones) != new:
            raise StateError(_CHANGED)
        record_places(database, shape.disks, new)
    return clones


def _add(
    database: Database,
    parameters: CloneParameters,
    shape: _Shape,
    names: Sequence[str],
    present: Collection[str],
    addresses: Mapping[str, str],
    known: Mapping[str, VirtualMachine],
    copied: Sequence[tuple[str, str, str]],
) -> list[Clone]:
    """Store those that are not present."""
    clones: list[Clone] = []
    added = 0
    for name in names:
        if name in present:
            frontend = known[name]
            lacks_keys = not frontend.host.attribute(KEYS_ATTRIBUTE)
            address = next((one.ip for one in frontend.host.interfaces if one.ip and not one.vlan), "")
            clones.append(Clone(name, address, None, lacks_keys))
            continue
        try:
            cluster = add_cluster(
                database, _cluster_parameters(parameters, shape, name, addresses[name], added)
            )
        except RocksError as error:
            raise CLASSES[error.family](
                f"{name}, clone {names.index(name) + 1} of {len(names)}: {error}; nothing was added",
                code=error.code,
            ) from None
        cluster = _copy_attributes(database, copied, shape, cluster)
        clones.append(Clone(name, addresses[name], cluster, cluster.lacks_keys))
        added += 1
    return clones


def _nas_clones(shape: _Shape, clones: Sequence[Clone]) -> list[NasClone]:
    """Each new machine, with the machine of the original whose disk it gets."""
    return [
        NasClone(original.name, new.name)
        for clone in clones
        if clone.cluster is not None
        for original, new in zip(
            (shape.frontend, *shape.computes),
            (clone.cluster.frontend, *clone.cluster.computes),
            strict=True,
        )
    ]


def _read_shape(database: Database, parameters: CloneParameters, notify: Callable[[str], None]) -> _Shape:
    (cluster,) = own_clusters_of(database, [parameters.source], notify, "is not cloned")
    *computes, frontend = table.load_vms(database, cluster.names)
    for vm in (frontend, *computes):
        _check_machine(vm, is_frontend=vm is frontend)
    for vm in computes[1:]:
        first = computes[0]
        if _size(vm) != _size(first):
            raise StateError(
                f"{cluster.frontend} is not cloned: {vm.name} is not like {first.name} ({_differences(vm, first)}); "
                "the computes of clones are all alike"
            )
    disks: Mapping[str, DiskLocation] = {}
    if parameters.image is None:
        disks = disks_on_nas(database, (frontend, *computes))
    image = parameters.image or frontend.host.attribute(IMAGE_ATTRIBUTE)
    if not image:
        raise StateError(
            f"{cluster.frontend} was not made from an image; make one of its disk, while it is off (rocks add image "
            f"NAME vm={cluster.frontend}), then give image=NAME"
        )
    own = {vm.host.attribute(IMAGE_ATTRIBUTE) for vm in computes}
    compute_image = parameters.compute_image
    if compute_image is None and parameters.image is None and computes:
        if len(own) > 1:
            raise StateError(
                f"{cluster.frontend} is not cloned: its computes were made from several images; give compute-image="
            )
        compute_image = own.pop() or NO_IMAGE
    for name in (image, compute_image):
        if name is not None and name.lower() != NO_IMAGE:
            check_source_name(name)
    gateway = default_gateways(database, [cluster.frontend]).get(cluster.frontend)
    return _Shape(frontend, tuple(computes), image, compute_image, gateway, disks)


def _size(vm: VirtualMachine) -> tuple[int, int, int]:
    return vm.host.cpus, vm.memory_mb, vm.disks[0].size_gb


def _differences(vm: VirtualMachine, other: VirtualMachine) -> str:
    """What of the size of `vm` is another, as `memory 600 MB instead of 512`."""
    parts = zip(("{} CPUs", "memory {} MB", "disk {} GB"), _size(vm), _size(other), strict=True)
    return ", ".join(f"{text.format(size)} instead of {than}" for text, size, than in parts if size != than)


def _check_machine(vm: VirtualMachine, is_frontend: bool) -> None:
    """StateError for a machine with more than `rocks add cluster` gives one."""
    if len(vm.disks) != 1:
        raise StateError(
            f"{vm.name} has {len(vm.disks)} disks; only clusters whose machines have one are cloned"
        )
    most = 2 if is_frontend else 1
    if len(vm.host.interfaces) > most:
        raise StateError(
            f"{vm.name} has {len(vm.host.interfaces)} interfaces; only clusters as rocks add cluster makes them are "
            f"cloned, with {most}: remove the others, or add them to the clones yourself and give a cluster without"
        )
    if vm.container is None:
        raise StateError(
            f"{vm.name} has no physical host; give it one: rocks set host vm {vm.name} physnode=HOST"
        )


def _names(parameters: CloneParameters) -> list[str]:
    """The names of the clones' frontends."""
    for address in parameters.addresses:
        check_ip(address)
    if not parameters.addresses:
        raise UserError("must supply an IP address for the frontends of the clones")
    count = len(parameters.addresses) if parameters.count is None else parameters.count
    if len(parameters.addresses) not in (1, count):
        raise UserError(
            f"count={count} needs one address, from which free ones are searched, or {count}; "
            f"{len(parameters.addresses)} are given"
        )
    if len(set(parameters.addresses)) < len(parameters.addresses):
        raise UserError("an address is given twice; each clone needs one of its own")
    prefix = parameters.name or parameters.source
    return [f"{prefix}-{number}" for number in range(1, count + 1)]


def _addresses(
    database: Database,
    parameters: CloneParameters,
    names: Sequence[str],
    missing: Sequence[str],
) -> Mapping[str, str]:
    """Frontend → its public address, for the clones that are missing. StateError when there are too few."""
    if parameters.count is None or len(parameters.addresses) > 1:
        return dict(zip(names, parameters.addresses, strict=True))
    networks = in_use_records.load_subnets(database)
    if PUBLIC_NETWORK not in networks:
        raise unknown_network(PUBLIC_NETWORK, networks)
    subnet = networks[PUBLIC_NETWORK][1]
    inventory = in_use_records.read_inventory(database, [])
    used = [*inventory.ips, *inventory.reserved_ips]
    found = next_addresses(subnet, used, len(missing), 1, parameters.addresses[0])
    return dict(zip(missing, found, strict=True))


def _cluster_parameters(
    parameters: CloneParameters, shape: _Shape, name: str, ip: str, number: int
) -> ClusterParameters:
    """Those of one clone; `number` counts the clones, so that given containers are used in turn."""
    frontend, computes = shape.frontend, shape.computes
    places = [vm.container.name for vm in (frontend, *computes) if vm.container is not None]
    turn = parameters.containers
    if turn:
        first = number * len(places)
        places = [turn[(first + place) % len(turn)] for place in range(len(places))]
    size = _size(computes[0]) if computes else (COMPUTE_CPUS, COMPUTE_MEMORY_MB, DEFAULT_DISK_GB)
    return ClusterParameters(
        ip=ip,
        computes=str(len(computes)),
        frontend_container=places[0],
        compute_containers=places[1:],
        cpus=size[0],
        memory_mb=size[1],
        compute_disk_gb=size[2],
        frontend_cpus=frontend.host.cpus,
        frontend_memory_mb=frontend.memory_mb,
        frontend_disk_gb=frontend.disks[0].size_gb,
        frontend_name=name,
        cluster_naming=True,
        gateway=shape.gateway,
        image=shape.image,
        compute_image=shape.compute_image,
        key_file=parameters.key_file,
    )


def _copy_attributes(
    database: Database,
    copied: Sequence[tuple[str, str, str]],
    shape: _Shape,
    cluster: NewCluster,
) -> NewCluster:
    """Give the machines of a clone the attributes that those of the original have themselves; no secrets.

    The cluster, which does not lack keys if they were copied.
    """
    pairs = zip((shape.frontend, *shape.computes), (cluster.frontend, *cluster.computes), strict=True)
    clone_of = {original.name: clone.name for original, clone in pairs}
    present = attributes.read_attributes(database, "host", list(clone_of.values()))
    has = {(member, attribute.lower()) for member, attribute, _ in present}
    rows = [
        (clone_of[member], attribute, value)
        for member, attribute, value in copied
        if attribute.lower() not in _OWN
        and not is_secret(attribute)
        and (clone_of[member], attribute.lower()) not in has
    ]
    attributes.insert_host_values(database, rows)
    has_keys = any(attribute.lower() == KEYS_ATTRIBUTE for _, attribute, _ in rows)
    return replace(cluster, lacks_keys=cluster.lacks_keys and not has_keys)
