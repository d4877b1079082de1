"""Add copies of a virtual cluster, all in one transaction; disks on NASes are cloned there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.add import COMPUTE_CPUS, COMPUTE_MEMORY_MB, NO_IMAGE, ClusterParameters, add_cluster
from rocks.core.dataclasses import dataclass
from rocks.core.errors import CLASSES, RocksError, StateError, UserError
from rocks.inventory.attributes import records as attributes
from rocks.inventory.attributes.records import replace_attribute
from rocks.inventory.attributes.secret_names import is_secret
from rocks.inventory.cluster_records import members, own_clusters_of
from rocks.inventory.host_records import lock_inventory, unlock_inventory
from rocks.leases.lease import ensure_locked, read_leases
from rocks.library.guest_images import (
    ADDRESS_ATTRIBUTE,
    CLONE_ATTRIBUTE,
    CLUSTER_KEY_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    INSTANCE_ATTRIBUTE,
    KEYS_ATTRIBUTE,
    check_source_name,
)
from rocks.machine import record as table
from rocks.machine.add import load_subnets, read_inventory
from rocks.machine.documents import PUBLIC_NETWORK
from rocks.machine.limits import DEFAULT_DISK_GB
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import next_addresses, unknown_network
from rocks.network.routes import default_gateways
from rocks.storage.volumes.move_records import check_not_moving, read_moves
from rocks.storage.volumes.place_records import disk_locations, put_disks
from rocks.storage.volumes.places import removal_command, volume_name
from rocks.storage.wire import requests as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rocks.cluster.add import NewCluster
    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import DiskLocation


# The disks of cluster copies whose original is on NASes: clones of a snapshot of each disk of the original.


CLONES_AT_ONCE = 40
"""Clones in one request: the NAS answers other requests between two."""


class NasClone(NamedTuple):
    """A machine, and the one of the original whose disk it gets."""

    original: str
    clone: str


def disks_on_nas(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, DiskLocation]:
    """Machine → the place of its disk, when the disks of all are on NASes; empty when none is.

    StateError when only some are, a machine may be running, or has no image: its copy would get no name of its own.
    """
    found = {disk.vm: disk for disk in disk_locations(database, [vm.name for vm in machines]) if disk.nas}
    if not found:
        return {}
    for vm in machines:
        if vm.name not in found:
            raise StateError(
                f"the disk of {vm.name} is on its host and others of its cluster are on a NAS; only clusters with all "
                "disks on NASes or none are cloned: give image=NAME (rocks list image)"
            )
        if not vm.host.attribute(IMAGE_ATTRIBUTE):
            raise StateError(
                f"{vm.name} was not made from an image, so a copy of its disk would keep its name and addresses; if it "
                f"has cloud-init, set its image: rocks set host attr {vm.name} {IMAGE_ATTRIBUTE} NAME, else "
                "give image=NAME (rocks list image)"
            )
        if not found[vm.name].zpool:
            raise StateError(
                f"the disk of {vm.name} is on {found[vm.name].nas} and has no pool: rocks set host vm nas {vm.name} "
                f"nas={found[vm.name].nas} zpool=POOL"
            )
    check_at_rest(database, list(found.values()))
    return found


def check_at_rest(database: Database, disks: Sequence[DiskLocation]) -> None:
    """Lock the machines of these disks. StateError when one may be running, or its disk is being moved."""
    names = [disk.vm for disk in disks]
    ensure_locked(database, names)
    for lease in read_leases(database, names).values():
        if lease.is_held:
            raise StateError(
                f"{lease.name} may be running on {lease.host}, and its disk is cloned as it is on the NAS: stop it, "
                f"and wait until its changes are there (rocks stop host vm {lease.name}, then the same with "
                "terminate=yes)"
            )
    check_not_moving(disks, read_moves(database))


def create_volumes(
    database: Database,
    disks: Mapping[str, DiskLocation],
    clones: Sequence[NasClone],
    progress: Callable[[str], None],
) -> None:
    """Make the volumes of the clones; what an interrupted command made is used again. No transaction may be open.

    After an error the volumes that were made stay for a repeated command.
    """
    from rocks.storage.volumes.access import open_storage

    of_pool: defaultdict[tuple[str, str], list[NasClone]] = defaultdict(list)
    for one in clones:
        of_pool[disks[one.original].nas, disks[one.original].zpool].append(one)
    machines = {vm.name: vm for vm in table.load_vms(database, sorted({one.original for one in clones}))}
    originals = {name: (vm, disks[name]) for name, vm in machines.items()}
    database.end_reading()
    with open_storage(database) as storage:
        for (nas, _), chosen in of_pool.items():
            try:
                _clone(storage, originals, chosen, progress)
            except RocksError as error:
                raise CLASSES[error.family](
                    f"nothing was added: {error}; volumes that {nas} has made are used when the command is repeated",
                    code=error.code,
                ) from None


def record_places(database: Database, disks: Mapping[str, DiskLocation], clones: Sequence[NasClone]) -> None:
    """Record that the disks of the clones are where those of the original are, and copies of them."""
    places = {disk.vm: disk for disk in disk_locations(database, [one.clone for one in clones])}
    located = []
    for one in clones:
        original = disks[one.original]
        located.append(places[one.clone]._replace(nas=original.nas, zpool=original.zpool))
    put_disks(database, located)
    # without it, a machine that gets the name later would boot the disk that a killed command has left
    for name in {one.original for one in clones}:
        copies = [one.clone for one in clones if one.original == name]
        replace_attribute(database, "host", copies, CLONE_ATTRIBUTE, volume_name(name, 0))


def _clone(
    storage: StorageClient,
    originals: Mapping[str, tuple[VirtualMachine, DiskLocation]],
    clones: Sequence[NasClone],
    progress: Callable[[str], None],
) -> None:
    """Make the clones of one pool."""
    chosen = [originals[name] for name in sorted({one.original for one in clones})]
    origins = freeze_volumes(storage, chosen)
    requests = [
        wire.NewClone(volume_name(one.clone, 0), origins[volume_name(one.original, 0)]) for one in clones
    ]
    clone_volumes(storage, chosen[0][1].nas, chosen[0][1].zpool, requests, progress)


def check_owner(vm: VirtualMachine, disk: DiskLocation, volume: str, machine: str | None) -> None:
    """StateError when the image on the NAS bears the UUID of another machine: a removed one of the name has left it."""
    if machine not in ("", vm.uuid):
        raise StateError(
            f"the image {disk.nas}:{volume} belongs to another machine ({machine}), not to {vm.name}: remove it "
            f"({removal_command(disk.nas, disk.zpool, volume)} now=yes), and start {vm.name}: its disk is fresh then"
        )


def freeze_volumes(
    storage: StorageClient, originals: Sequence[tuple[VirtualMachine, DiskLocation]]
) -> dict[str, str]:
    """Volume → VOLUME@SNAPSHOT, which has its present content, of the first disks of machines in one pool.

    StateError when a host has one, or it is another machine's: clones would show its content.
    """
    from rocks.storage.client import asking
    from rocks.storage.limits import MAP_SECONDS

    nas, zpool = originals[0][1].nas, originals[0][1].zpool
    volumes = [volume_name(vm.name, 0) for vm, _ in originals]
    rows = {row.zvol: row for row in storage.ask(asking.images_of(nas)) if row.zpool == zpool}
    for volume, (vm, disk) in zip(volumes, originals, strict=True):
        if volume in rows:
            check_owner(vm, disk, volume, rows[volume].machine)
    frozen = storage.ask(asking.new_query(nas, wire.FreezeZvols(zpool, tuple(volumes))), MAP_SECONDS)
    return {volume: f"{volume}@{frozen[volume]}" for volume in volumes}


def clone_volumes(
    storage: StorageClient,
    nas: str,
    zpool: str,
    clones: Sequence[wire.NewClone],
    progress: Callable[[str], None],
) -> None:
    """Make the clones; those that an interrupted command has made of the same volume are used."""
    from rocks.storage.client import asking
    from rocks.storage.limits import MAP_SECONDS

    for first in range(0, len(clones), CLONES_AT_ONCE):
        some = tuple(clones[first : first + CLONES_AT_ONCE])
        made = storage.ask(asking.new_query(nas, wire.CloneZvols(zpool, some, replaces=True)), MAP_SECONDS)
        if made.missing:
            lost = lost_snapshots(some, made.missing)
            raise StateError(f"{nas} has lost the snapshot {', '.join(lost)}; repeat the command")
        progress(f"{nas}:{zpool}: {first + len(some)} of {len(clones)} disks are cloned")


def lost_snapshots(requested: Sequence[wire.NewClone], missing: Sequence[str]) -> list[str]:
    """The snapshots, VOLUME@NAME, of which the missing volumes were to be clones."""
    return sorted({clone.origin for clone in requested if clone.zvol in missing})


# Add copies of a virtual cluster, all in one transaction, without contact to a host.
#
# Each copy has names, addresses, a VLAN and disks of its own, and the shape and attributes of the original. Its disks
# are made from images of the library, as those of any cluster with an image; those of an original on NASes are cloned
# there.
#
# The original's disks are not copied from host to host, which would be the same transfer for each clone, and
# are no overlays, which would depend on one file for ever. What the original has beyond a cluster of `rocks add
# cluster` is refused, not left out silently.


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
    progress: Callable[[str], None],
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
    networks = load_subnets(database)
    if PUBLIC_NETWORK not in networks:
        raise unknown_network(PUBLIC_NETWORK, networks)
    subnet = networks[PUBLIC_NETWORK][1]
    inventory = read_inventory(database, [])
    used = [*inventory.ips, *inventory.reserved_ips]
    found = next_addresses(subnet, used, len(missing), 1, parameters.addresses[0])
    return dict(zip(missing, found, strict=True))


def _cluster_parameters(
    parameters: CloneParameters, shape: _Shape, name: str, ip: str, number: int
) -> ClusterParameters:
    """The parameters of one clone; `number` counts the clones, so that given containers are used in turn."""
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
