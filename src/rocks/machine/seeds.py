"""Makes the small second disk of a machine from an image of the library, which cloud-init reads."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.fleet.wire.requests import SeedSpec
from rocks.inventory.attributes import secret_records as secrets
from rocks.inventory.cluster_records import own_members
from rocks.inventory.disks.places import directory_of
from rocks.library.guest_images import CLUSTER_KEY_ATTRIBUTE, not_in_image_directory, seed_path
from rocks.library.seed_documents import VOLUME, GuestCluster, address_warning, seed_documents
from rocks.machine import record as table
from rocks.machine.documents import connections_of
from rocks.machine.spec import container_of
from rocks.network.guest_connections import Unconnected
from rocks.network.routes import default_gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.trust.cluster_key_files import ClusterKey


_SEED_TIME = 1_700_000_000
"""The time of the files of a seed: the same documents give the same disk."""


def create_seeds(
    database: Database, machines: Iterable[VirtualMachine], notify: Callable[[str], None] | None = None
) -> dict[str, SeedSpec | RocksError]:
    """Machine → its seed, or why it has none; for the machines that have one. `notify` prints a line about one."""
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
            if notify is not None and (line := address_warning(vm, cluster)):
                notify(f"Warning: {line}")
        except RocksError as error:
            found[vm.name] = error
    return found


def _clusters_of(
    database: Database, machines: Sequence[VirtualMachine]
) -> dict[str, GuestCluster | RocksError]:
    """Machine → its cluster, or why it cannot be set up as a part of that. Commits."""
    names = {vm.name for vm in machines}
    clusters = [cluster for cluster in own_members(database, None).values() if names & set(cluster.names)]
    if not clusters:
        return {}
    everyone = [name for cluster in clusters for name in cluster.names]
    records = {vm.name: vm for vm in table.load_vms(database, everyone)}
    gateways = default_gateways(database, [cluster.frontend for cluster in clusters])
    found: dict[str, GuestCluster | RocksError] = {}
    keys = _ensure_cluster_keys(
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


def _ensure_cluster_keys(database: Database, frontends: Sequence[str]) -> dict[str, ClusterKey | StateError]:
    """Frontend → the key by which it reaches its computes, made when it has none; or why not.

    Commits: what a guest has been given stays known.
    """
    if not frontends:
        return {}
    # late: its library takes longer than a start's other modules
    from rocks.trust.cluster_key_files import new_key, read_key

    missing = set(frontends) - set(_stored_keys(database, frontends))
    for frontend in sorted(missing):
        secrets.add(database, frontend, CLUSTER_KEY_ATTRIBUTE, new_key())
    if missing:
        database.commit()  # of two starts at once, the first key holds for both
    found: dict[str, ClusterKey | StateError] = {}
    for frontend, text in _stored_keys(database, frontends).items():
        try:
            found[frontend] = read_key(text, f"root@{frontend}")
        except IncoherentError as error:
            found[frontend] = StateError(
                f"the key of the cluster {frontend} cannot be used: {error}; rocks remove host sec_attr {frontend} "
                f"{CLUSTER_KEY_ATTRIBUTE} has the next start make another, for machines that are set up after that"
            )
    return found


def _stored_keys(database: Database, frontends: Sequence[str]) -> dict[str, str]:
    spelled = {frontend.lower(): frontend for frontend in frontends}
    return {
        spelled[host.lower()]: value
        for host, name, value, _ in secrets.read_of_hosts(database, frontends)
        if name.lower() == CLUSTER_KEY_ATTRIBUTE
    }


def _seed(vm: VirtualMachine, cluster: GuestCluster) -> SeedSpec:
    path, container = seed_path(vm), container_of(vm)
    directory = None if path is None else directory_of(container, path)
    if path is None or directory is None:
        raise not_in_image_directory(vm, container)
    connected = [c.mac for c in connections_of(vm) if not isinstance(c, Unconnected)]
    content = _disk(seed_documents(vm, cluster, connected))
    return SeedSpec(path, directory, vm.uuid, base64.b64encode(zlib.compress(content)).decode("ascii"))


def _disk(documents: Mapping[str, str]) -> bytes:
    """An ISO with the files, of the volume that cloud-init looks for."""
    import tempfile  # late, as the next: a live move imports this module, and makes a seed for few machines

    from rocks.library.xorriso import write_iso

    with dry_run.reading(), tempfile.TemporaryDirectory(prefix="rocks-seed-") as folder:
        tree, iso = Path(folder, "seed"), Path(folder, "seed.iso")
        tree.mkdir()
        for name, text in documents.items():
            (tree / name).write_text(text, encoding="utf-8")
        write_iso(tree, iso, VOLUME, _SEED_TIME)
        return iso.read_bytes()
