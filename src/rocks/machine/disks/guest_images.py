"""Machines whose disks are made from images of the library: the copies on their hosts, and the seeds of cloud-init."""

from __future__ import annotations

import base64
import os
import tempfile
import zlib
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.units import size_text
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.settings import FleetSettings
from rocks.fleet.wire.requests import SeedSpec, base_path
from rocks.inventory.cluster_records import members
from rocks.inventory.disks.places import directory_of
from rocks.inventory.host_requests import fleet_addresses
from rocks.library.folder import find_library_image, library_folder
from rocks.library.guest_images import (
    IMAGE_ATTRIBUTE,
    base_on,
    needs_source,
    seed_path,
    source_disk,
    with_base,
)
from rocks.library.guest_seed import VOLUME, GuestCluster, seed_documents
from rocks.library.records import image_file, source_of
from rocks.library.streams import STALLED_SECONDS, STORE_SECONDS, send_image
from rocks.machine import records as table
from rocks.machine.cluster_keys import ensure_cluster_keys
from rocks.machine.domain.documents import connections_of
from rocks.machine.spec import container_of
from rocks.network.guest_connections import Unconnected
from rocks.network.route_records import default_gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.settings import HostAddress
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import BaseImage
    from rocks.inventory.records import VirtualMachine
    from rocks.library.guest_images import Source
    from rocks.machine.leases.leases import Attempt

_SLOWEST_BYTES_PER_SECOND = 1_000_000
_SEED_TIME = 1_700_000_000
"""The time of the files of a seed: the same documents give the same disk."""


class HostCopy(NamedTuple):
    """A copy of an image on a host, and the image; or why there can be none."""

    base: BaseImage | None
    image: str
    error: RocksError | None = None


Copies = dict[str, HostCopy]
"""Machine → the copy that its disk is made from."""


def find_copies(database: Database, machines: Iterable[VirtualMachine]) -> Copies:
    """The copies for the machines with an image. An image that is missing fails only the machines that need it."""
    sources: dict[str, Source | RocksError] = {}
    found: Copies = {}
    for vm in machines:
        if source_disk(vm) is None:
            continue
        name = vm.host.attribute(IMAGE_ATTRIBUTE)
        if name not in sources:
            try:
                sources[name] = source_of(find_library_image(database, name))
            except RocksError as error:
                sources[name] = error
        source = sources[name]
        try:
            if isinstance(source, RocksError):
                raise source
            found[vm.name] = HostCopy(base_on(vm, container_of(vm), source), name)
        except RocksError as error:
            found[vm.name] = HostCopy(None, name, error)
    return found


def places_of(attempts: Iterable[Attempt], *copies: Copies) -> dict[str, set[str]]:
    """Host → the files of copies that its facts have to include; none where a machine's copy is missing."""
    places: dict[str, set[str]] = {}
    for attempt, of_kind in product(attempts, copies):
        copy = of_kind.get(attempt.vm.name)
        if copy is not None:
            places.setdefault(container_of(attempt.vm).name, set())
        if copy is not None and copy.base is not None:
            places.setdefault(container_of(attempt.vm).name, set()).add(base_path(copy.base))
    return places


def use_copies(
    attempts: Iterable[Attempt], copies: Copies, facts: Mapping[str, HostFacts | RocksError]
) -> dict[tuple[str, str], HostCopy]:
    """Have hosts create missing disks from their copies; returns the copies that hosts lack, by host and file."""
    missing: dict[tuple[str, str], HostCopy] = {}
    for attempt in attempts:
        copy, spec = copies.get(attempt.vm.name), attempt.spec
        host = container_of(attempt.vm).name
        answer = facts.get(host)
        if copy is None or spec is None or answer is None or isinstance(answer, RocksError):
            continue
        if not needs_source(attempt.vm, answer.disks):
            continue
        with attempt.failing_alone():
            if copy.error is not None or copy.base is None:
                raise StateError(f"{attempt.vm.name} is not started: its disk has to be made: {copy.error}")
            path = base_path(copy.base)
            has_base = any(fact.path == path and fact.exists for fact in answer.disks)
            disks = with_base(attempt.vm, spec.disks, answer.disks, copy.base, has_base)
            attempt.spec = replace(spec, disks=disks)
            if not has_base:
                missing[host, path] = copy
    return missing


def send_copies(
    database: Database,
    attempts: Sequence[Attempt],
    missing: Mapping[tuple[str, str], HostCopy],
    notify: Callable[[str], None],
) -> None:
    """Send the images to the hosts that lack them, all hosts at once; machines whose image does not arrive fail."""
    if not missing:
        return
    library = library_folder(database)
    hosts = {host.name: host for host in fleet_addresses(database, sorted({host for host, _ in missing}))}
    database.end_reading()
    settings = FleetSettings()
    jobs, seconds = {}, {}
    for key, copy in missing.items():
        assert copy.base is not None
        notify(f"the image {copy.image}, {size_text(copy.base.used_bytes)}, is copied to {key[0]}")
        job = "\n".join(key)
        jobs[job] = partial(_send, hosts[key[0]], settings, copy.base, image_file(library, copy.image))
        seconds[job] = STALLED_SECONDS + STORE_SECONDS + copy.base.used_bytes / _SLOWEST_BYTES_PER_SECOND
    failed: dict[tuple[str, str], RocksError] = {}
    for job, result in run_parallel(jobs, threads=settings.threads, deadline_seconds=seconds):
        if isinstance(result, RocksError):
            host, _, path = job.partition("\n")
            failed[host, path] = result
    for attempt in attempts:
        if attempt.is_open and attempt.spec is not None:
            host = container_of(attempt.vm).name
            bases = [disk.base for disk in attempt.spec.disks if disk.base is not None]
            error = next((failed[key] for base in bases if (key := (host, base_path(base))) in failed), None)
            if error is not None:
                attempt.error = HostError(f"{attempt.vm.name} is not started: {error}")


def _send(host: HostAddress, settings: FleetSettings, base: BaseImage, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"the image {path} cannot be read: {error.strerror}; see rocks check image") from None
    try:
        send_image(host, settings, base, descriptor)
    except OSError as error:
        raise HostError(f"the image {path} cannot be sent: {error.strerror}") from None
    finally:
        os.close(descriptor)


def make_seeds(database: Database, machines: Iterable[VirtualMachine]) -> dict[str, SeedSpec | RocksError]:
    """Machine → its seed, or why it has none; for the machines that have one."""
    chosen = [vm for vm in machines if seed_path(vm) is not None]
    if not chosen:
        return {}
    clusters = _clusters_of(database, chosen)
    database.end_reading()
    found: dict[str, SeedSpec | RocksError] = {}
    for vm in chosen:
        try:
            cluster = clusters.get(vm.name, GuestCluster())
            if isinstance(cluster, RocksError):
                raise StateError(f"{vm.name} is not started: {cluster}")
            found[vm.name] = _seed(vm, cluster)
        except RocksError as error:
            found[vm.name] = error
    return found


def _clusters_of(
    database: Database, machines: Sequence[VirtualMachine]
) -> dict[str, GuestCluster | RocksError]:
    """Machine → its cluster, or why it cannot be set up as a part of that. Commits."""
    names = {vm.name for vm in machines}
    clusters = [cluster for cluster in members(database, None).values() if names & set(cluster.names)]
    if not clusters:
        return {}
    everyone = [name for cluster in clusters for name in cluster.names]
    records = {vm.name: vm for vm in table.load_vms(database, everyone)}
    gateways = default_gateways(database, [cluster.frontend for cluster in clusters])
    found: dict[str, GuestCluster | RocksError] = {}
    keys = ensure_cluster_keys(
        database, [cluster.frontend for cluster in clusters if seed_path(records[cluster.frontend])]
    )
    for cluster in clusters:
        key = keys.get(cluster.frontend)
        if isinstance(key, RocksError):
            found.update(dict.fromkeys(cluster.names, key))
            continue
        guest = GuestCluster(
            records[cluster.frontend],
            tuple(records[name] for name in cluster.clients),
            gateways.get(cluster.frontend, ""),
            *key or (),
        )
        found.update(dict.fromkeys(cluster.names, guest))
    return found


def _seed(vm: VirtualMachine, cluster: GuestCluster) -> SeedSpec:
    path, container = seed_path(vm), container_of(vm)
    directory = None if path is None else directory_of(container, path)
    if path is None or directory is None:
        raise StateError(
            f"{vm.name} is not started: its disk is not in an image directory of {container.name}"
        )
    connected = [c.mac for c in connections_of(vm) if not isinstance(c, Unconnected)]
    content = _disk(seed_documents(vm, cluster, connected))
    return SeedSpec(path, directory, vm.uuid, base64.b64encode(zlib.compress(content)).decode("ascii"))


def _disk(documents: Mapping[str, str]) -> bytes:
    """An ISO with the files, of the volume that cloud-init looks for."""
    from rocks.install.rolls.iso import write_iso  # 37 modules, which a start without a seed does not need

    with dry_run.question(), tempfile.TemporaryDirectory(prefix="rocks-seed-") as folder:
        tree, iso = Path(folder, "seed"), Path(folder, "seed.iso")
        tree.mkdir()
        for name, text in documents.items():
            (tree / name).write_text(text, encoding="utf-8")
        write_iso(tree, iso, VOLUME, _SEED_TIME)
        return iso.read_bytes()
