"""Retained copies of unmapped images on a host, and their eviction when space is needed."""

from __future__ import annotations

import logging
from typing import Callable, Collection, ContextManager, Dict, Iterable, List, Mapping, NamedTuple, Optional

from rocks.core.errors import RocksError
from rocks.core.values import size_text
from rocks.storage.image import names
from rocks.storage.store.host import HostStore
from rocks.storage.zfs.facts import OUR_PREFIX, VolumeFact
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)


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


IsOnNas = Callable[[RetainedCopy], bool]
"""Asks the copy's NAS whether it has the copy's snapshot; False when that is not certain."""

Reserve = Callable[[str], ContextManager[bool]]
"""Gives whether an image is unused; if so, it is until the end of the `with`."""


def retained_copies(pools: PoolDriver, pool: str) -> List[RetainedCopy]:
    """All copies in a pool, by their properties. Quarantined volumes are omitted."""
    return copies_among(pools.list_volumes(pool))


def copies_among(volumes: Iterable[VolumeFact]) -> List[RetainedCopy]:
    """As `retained_copies`, of the volumes of a pool."""
    return [copy for copy in map(_from_properties, volumes) if copy is not None]


def checked_copy(pools: PoolDriver, copy: RetainedCopy) -> RetainedCopy:
    """The copy with its kind checked against the volume."""
    is_wrong = copy.kind == "clean" and not _is_clean(pools, copy)
    return copy._replace(kind="suspect") if is_wrong else copy


def quarantined_copies(pools: PoolDriver, pool: str) -> List[RetainedCopy]:
    """All quarantined volumes in a pool, with the guid of their newest snapshot; `zvol` is their present name.

    Their image and NAS are those of their properties; empty without them.
    """
    found = []
    for volume in pools.list_volumes(pool):
        name = volume.name.partition("/")[2]
        if names.is_quarantined(name):
            stored = stored_properties(volume)
            newest = pools.read_history(volume.name).newest
            epoch = stored.get("epoch", "")
            found.append(
                RetainedCopy(
                    name,
                    pool,
                    stored.get("id", ""),
                    stored.get("nas", ""),
                    int(epoch) if epoch.isdigit() else 0,
                    "quarantined",
                    None if newest is None else newest.guid,
                    volume.used_bytes,
                )
            )
    return found


def is_proved(pools: PoolDriver, copy: RetainedCopy, is_on_nas: IsOnNas) -> bool:
    """Whether nothing is only in this copy: nothing was written since its newest snapshot, which its NAS has now."""
    return bool(copy.guid and copy.nas and copy.image_id) and _is_clean(pools, copy) and is_on_nas(copy)


def evictable_bytes(pools: PoolDriver, pool: str, evictable: Mapping[str, str], is_on_nas: IsOnNas) -> int:
    """The space of all evictable copies and of quarantined ones that are proved.

    `evictable` maps volumes to guids, as sent by the NAS; each is asked for again before it is destroyed.
    """
    retained = retained_copies(pools, pool) if evictable else []
    space = sum(copy.used_bytes for copy in retained if _is_evictable(copy, evictable))
    quarantined = [copy for copy in quarantined_copies(pools, pool) if is_proved(pools, copy, is_on_nas)]
    return space + sum(copy.used_bytes for copy in quarantined)


def evict_copies(
    pools: PoolDriver,
    pool: str,
    needed_bytes: int,
    evictable: Mapping[str, str],
    reserve: Reserve,
    is_on_nas: IsOnNas,
) -> None:
    """Destroy evictable and quarantined copies until `needed_bytes` are free, those written back longest ago first.

    The NAS is asked for the snapshot of each; one that it does not have, or a NAS that does not answer, preserves the
    copy. Copies in use stay. When that does not suffice, the next allocation in the pool fails.
    """
    if pools.read_pool(pool).free_bytes >= needed_bytes:
        return
    retained = retained_copies(pools, pool) if evictable else []
    candidates = [copy for copy in retained if _is_evictable(copy, evictable)]
    candidates += quarantined_copies(pools, pool)
    for copy in sorted(candidates, key=lambda copy: created_seconds(pools, copy) or 0):
        with reserve(copy.zvol) as is_idle:
            if not is_idle or not is_proved(pools, copy, is_on_nas):
                continue
            forget_copy(pools, pool, copy.zvol)
        needed = size_text(needed_bytes)
        _log.info("%s/%s was evicted: its NAS has it, and %s are needed", pool, copy.zvol, needed)
        if pools.read_pool(pool).free_bytes >= needed_bytes:
            return


def forget_copy(pools: PoolDriver, pool: str, zvol: str, may_lose_bytes: Optional[int] = 0) -> None:
    """Destroy a copy with its snapshots; StateError when more was written since the newest of them."""
    volume = pools.read_volume(f"{pool}/{zvol}")
    if volume is None:
        return
    snapshots = []
    for snapshot in pools.read_history(volume.name).snapshots:
        pools.ensure_released(volume.name, snapshot.name, snapshot.guid, names.HOLD_TAG)
        snapshots.append((snapshot.name, snapshot.guid))
    pools.ensure_volume_gone(volume.name, volume.guid, snapshots, may_lose_bytes)


def _is_evictable(copy: RetainedCopy, evictable: Mapping[str, str]) -> bool:
    """Both must agree: the NAS has the snapshot and the image is unmapped; the copy equals that snapshot."""
    return copy.kind == "clean" and copy.guid is not None and evictable.get(copy.zvol) == copy.guid


def _from_properties(volume: VolumeFact) -> Optional[RetainedCopy]:
    stored = stored_properties(volume)
    pool, _, zvol = volume.name.partition("/")
    is_copy = stored.get("copy") in ("clean", "dirty") and stored.get("volume", "").rpartition("/")[2] == zvol
    if not is_copy or not stored.get("id") or not stored.get("nas") or not stored.get("epoch", "").isdigit():
        return None
    guid, epoch = stored.get("base_guid"), int(stored["epoch"])
    return RetainedCopy(
        zvol, pool, stored["id"], stored["nas"], epoch, stored["copy"], guid, volume.used_bytes
    )


def created_seconds(pools: PoolDriver, copy: RetainedCopy) -> Optional[int]:
    """When its newest snapshot was taken, UNIX seconds; None without one."""
    newest = pools.read_history(f"{copy.pool}/{copy.zvol}").newest
    return None if newest is None else newest.created_seconds


def stored_properties(volume: VolumeFact) -> Dict[str, str]:
    """The properties by which this host recognises a volume, without their prefix."""
    return {key[len(OUR_PREFIX) :]: value for key, value in volume.properties}


def _is_clean(pools: PoolDriver, copy: RetainedCopy) -> bool:
    name = f"{copy.pool}/{copy.zvol}"
    newest = pools.read_history(name).newest
    if newest is None or newest.guid != copy.guid:
        return False
    return pools.written_since(name, newest.name, newest.guid) == 0


# --- reports to NASes of copies that a host's records do not know, when it starts ------------------------------------


def report_copies(store: HostStore, pools: PoolDriver, own_pool: str, recovered: Collection[str]) -> None:
    """Record a message for each unknown or `recovered` copy: the host may have been reinstalled over its pool.

    The NAS knows all others from the host's answers. A pool that cannot be read is logged; its copies are found when
    their images are mapped.
    """
    known_pools = {copy.known.pool for copy in store.copies() if copy.known.pool}
    for pool in sorted({own_pool, *known_pools}):
        try:
            unknown = [
                copy
                for copy in copies_among(
                    volume for volume in pools.list_volumes(pool) if pool_of_volume(volume) in (pool, None)
                )
                if copy.zvol in recovered or store.copy(copy.zvol) is None
            ]
            found = [checked_copy(pools, copy) for copy in unknown]
        except RocksError as error:
            _log.warning("copies in the pool %s are not reported: %s", pool, error)
            continue
        with store.transaction():
            for copy in found:
                # unless a NAS has sent a request for it meanwhile
                if copy.zvol in recovered or store.copy(copy.zvol) is None:
                    report_copy(store, copy, copy.kind, copy.guid)


def report_copy(store: HostStore, copy: RetainedCopy, kind: str, guid: Optional[str]) -> None:
    """Report to the NAS of a copy what it is; `kind` none when it is gone."""
    found = {"pool": copy.pool, "copy_epoch": copy.epoch, "kind": kind, "guid": guid}
    store.report(copy.nas, {"copy": found}, copy.image_id, copy.epoch)


def pool_of_volume(volume: VolumeFact) -> Optional[str]:
    """The pool in which a copy or a temp-write volume was made: a replica of the pool has another one's name."""
    return stored_properties(volume).get("pool")
