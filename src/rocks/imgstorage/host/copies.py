"""Retained copies of unmapped images on a host, and their eviction when space is needed."""

from __future__ import annotations

import logging
from typing import Callable, List, Mapping, NamedTuple, Optional

from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import VolumeFact
from rocks.imgstorage.life import names
from rocks.units import gigabytes

_log = logging.getLogger(__name__)

PROPERTY_PREFIX = "imgstore:"


class RetainedCopy(NamedTuple):
    """A copy as its volume's properties describe it: image, NAS, epoch and condition.

    `kind` is clean when it equals the snapshot of that guid, which its NAS has; dirty with changes on top of it;
    suspect when its properties say clean and it is not.
    """

    zvol: str
    pool: str
    image_id: str
    nas: str
    epoch: int
    kind: str
    guid: Optional[str]
    used_bytes: int


def retained_copies(pools: PoolDriver, pool: str) -> List[RetainedCopy]:
    """All copies in a pool, by their properties. Quarantined volumes are omitted."""
    found = (_from_properties(volume) for volume in pools.list_volumes(pool))
    return [copy for copy in found if copy is not None]


def checked_copy(pools: PoolDriver, copy: RetainedCopy) -> RetainedCopy:
    """The copy with its kind checked against the volume."""
    is_wrong = copy.kind == "clean" and not _is_clean(pools, copy)
    return copy._replace(kind="suspect") if is_wrong else copy


def evictable_bytes(pools: PoolDriver, pool: str, evictable: Mapping[str, str]) -> int:
    """The space of all evictable copies; `evictable` maps volumes to guids, as sent by the NAS."""
    if not evictable:
        return 0
    return sum(copy.used_bytes for copy in retained_copies(pools, pool) if _is_evictable(copy, evictable))


def evict_copies(
    pools: PoolDriver,
    pool: str,
    needed_bytes: int,
    evictable: Mapping[str, str],
    is_idle: Callable[[str], bool],
) -> None:
    """Destroy evictable copies until `needed_bytes` are free, those written back longest ago first.

    Copies in use stay. When that does not suffice, the next allocation in the pool fails.
    """
    if not evictable or pools.read_pool(pool).free_bytes >= needed_bytes:
        return
    candidates = [copy for copy in retained_copies(pools, pool) if _is_evictable(copy, evictable)]
    for copy in sorted(candidates, key=lambda copy: _returned_seconds(pools, copy)):
        if is_idle(copy.zvol) and checked_copy(pools, copy).kind == "clean":
            forget_copy(pools, pool, copy.zvol)
            _log.info(
                "%s/%s was evicted: its NAS has it, and %s are needed",
                pool,
                copy.zvol,
                gigabytes(needed_bytes),
            )
            if pools.read_pool(pool).free_bytes >= needed_bytes:
                return


def forget_copy(pools: PoolDriver, pool: str, zvol: str) -> None:
    """Destroy a copy with its snapshots; StateError when data was written since the newest of them."""
    volume = pools.read_volume(f"{pool}/{zvol}")
    if volume is None:
        return
    snapshots = []
    for snapshot in pools.read_history(volume.name).snapshots:
        pools.ensure_released(volume.name, snapshot.name, snapshot.guid, names.HOLD_TAG)
        snapshots.append((snapshot.name, snapshot.guid))
    pools.ensure_volume_gone(volume.name, volume.guid, snapshots)


def _is_evictable(copy: RetainedCopy, evictable: Mapping[str, str]) -> bool:
    """Both must agree: the NAS has the snapshot and the image is unmapped; the copy equals that snapshot."""
    return copy.kind == "clean" and copy.guid is not None and evictable.get(copy.zvol) == copy.guid


def _from_properties(volume: VolumeFact) -> Optional[RetainedCopy]:
    stored = {key[len(PROPERTY_PREFIX) :]: value for key, value in volume.properties}
    pool, _, zvol = volume.name.partition("/")
    is_copy = stored.get("copy") in ("clean", "dirty") and stored.get("volume", "").rpartition("/")[2] == zvol
    if not is_copy or not stored.get("id") or not stored.get("nas") or not stored.get("epoch", "").isdigit():
        return None
    guid, epoch = stored.get("base_guid"), int(stored["epoch"])
    return RetainedCopy(
        zvol, pool, stored["id"], stored["nas"], epoch, stored["copy"], guid, volume.used_bytes
    )


def _returned_seconds(pools: PoolDriver, copy: RetainedCopy) -> int:
    newest = pools.read_history(f"{copy.pool}/{copy.zvol}").newest
    return 0 if newest is None else newest.created_seconds


def _is_clean(pools: PoolDriver, copy: RetainedCopy) -> bool:
    name = f"{copy.pool}/{copy.zvol}"
    newest = pools.read_history(name).newest
    if newest is None or newest.guid != copy.guid:
        return False
    return pools.written_since(name, newest.name, newest.guid) == 0
