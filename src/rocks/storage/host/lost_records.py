"""A host's records that are missing or older than its volumes, when it starts: images with changes get them again.

A host that was installed anew over its pool has the records from the properties of the copies there, and of the
temp-write volumes.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import Collection, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple, TypeVar

from rocks.core.errors import RocksError
from rocks.storage.host.retained_copies import RetainedCopy, copies_among, pool_of_volume, stored_properties
from rocks.storage.image import names
from rocks.storage.image.image import HostImage, Stage
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.silent_pools import PoolReads

_log = logging.getLogger(__name__)

Volumes = Mapping[str, VolumeFact]

_Found = TypeVar("_Found")


def recover_records(store: HostStore, pools: PoolDriver, pool: str) -> FrozenSet[str]:
    """Record every image with changes that has no record, or an older one, so that its device is rebuilt and its NAS
    can have the changes; returns the names. `pool` is the host's own.

    A volume names the pool in which it was made; one of an earlier release counts in the host's own pool and in those
    of records. A pool that cannot be read is logged: then a request of the NAS finds no stage, and the NAS asks what is
    there.
    """
    known_pools = {pool, *(copy.known.pool for copy in store.copies() if copy.known.pool)}
    read, imported = _read_pools(pools, known_pools)
    _report_renamed(read, imported)
    found = _misplaced_records(store, read)
    for name, volumes in read.items():
        found += _lost_records(store, volumes, name, name in known_pools)

    def rank(record: CopyRecord) -> Tuple[int, bool, bool]:
        """Of an image in two pools the highest counts: of the newest grant, of the named pool, of the own pool."""
        known, its_pool = record.known, record.known.pool or ""
        return known.epoch, its_pool in _stated_pools(read[its_pool], its_pool, known.zvol), its_pool == pool

    found.sort(key=rank)
    recovered = {record.known.zvol: record for record in found}
    for record in recovered.values():
        store.keep(record)
        known = record.known
        _log.warning("%s had no record, or an older one: it is %s by its properties", known.zvol, known.stage)
    return frozenset(recovered)


def _read_pools(
    pools: PoolDriver, known_pools: Set[str]
) -> Tuple[Dict[str, Volumes], Optional[Collection[str]]]:
    """Pool → its volumes by name: of these pools and of all others that are imported; and which are, None if unknown.

    All at once: one that is slow, or hangs, holds the guests of the others for a limited time only.
    """
    reads = PoolReads()
    reading = {name: reads.begin(pools.list_volumes, name) for name in sorted(known_pools)}
    imported = _result(reads, reads.begin(pools.list_pools), "other pools than those of the records")
    others = {*(imported or ())} - known_pools
    reading.update({name: reads.begin(pools.list_volumes, name) for name in others})
    reads.close()
    found = {name: _result(reads, one, f"the pool {name}") for name, one in sorted(reading.items())}
    read: Dict[str, Volumes] = {
        name: {one.name: one for one in volumes} for name, volumes in found.items() if volumes is not None
    }
    return read, imported


def _result(reads: PoolReads, reading: Future[_Found], place: str) -> Optional[_Found]:
    """What was read there; None when it cannot be read, or not in time."""
    try:
        return reads.result(reading)
    except RocksError as error:
        _log.warning("copies in %s are not looked for: %s", place, error)
        return None


def _stated_pools(volumes: Volumes, pool: str, zvol: str) -> Set[Optional[str]]:
    """As `_pool_of`, of the image's copy and of its temp-write volume there."""
    both = (f"{pool}/{zvol}", names.temp_write_volume(pool, zvol))
    return {pool_of_volume(volumes[name]) for name in both if name in volumes}


def _is_made_in(volumes: Volumes, pool: str, zvol: str, is_known_pool: bool) -> bool:
    """Whether the image's volumes in the pool were made there: one of them says so, or none says anything."""
    stated = _stated_pools(volumes, pool, zvol)
    return stated <= {pool, None} and (pool in stated or is_known_pool)


def _report_renamed(read: Mapping[str, Volumes], imported: Optional[Collection[str]]) -> None:
    """Log what has changes and was made in a pool that is not imported, as when `zpool import` has renamed that.

    It is not used: a replica says the same, and has old content. A pool that is imported, and hangs, is not renamed.
    """
    if imported is None:
        return
    for pool, volumes in read.items():
        for volume in volumes.values():
            made_in = pool_of_volume(volume)
            has_changes = stored_properties(volume).get("copy") == "dirty" or _overlay(volume) is not None
            if has_changes and made_in not in (None, *imported):
                _log.error(
                    "%s has changes and was made in the pool %s, which is not imported here: unless it is a replica, "
                    "run zpool export %s, zpool import %s %s and systemctl restart rocks-imgstorage-host",
                    *(volume.name, made_in, pool, pool, made_in),
                )


def _misplaced_records(store: HostStore, read: Mapping[str, Volumes]) -> List[CopyRecord]:
    """Records of images whose pool has no volume of them, with the pool of the only copy of the same grant.

    A copy that names no pool may be a replica, with old content: it counts only if the record, too, is of volumes.
    """
    found = []
    for record in store.copies():
        known, pool = record.known, record.known.pool or ""
        expected = {f"{pool}/{known.zvol}", names.temp_write_volume(pool, known.zvol)}
        if known.stage not in ("linear", "merging") or pool not in read or expected & read[pool].keys():
            continue
        grant = (known.zvol, record.image_id, known.epoch, "dirty")
        # whether the record of its grant was made from volumes, since the host had lost it
        is_of_volumes = record.details.get("by_volume") == known.epoch
        copies = [
            _record(volumes, copy).known
            for name, volumes in read.items()
            for copy in copies_among(volumes.values())
            if (copy.zvol, copy.image_id, copy.epoch, copy.kind) == grant
            and _is_made_in(volumes, name, copy.zvol, is_of_volumes)
            and not _lacks_writes(known.stage, volumes, copy)
        ]
        if len(copies) == 1:
            found.append(record._replace(known=replace(known, pool=copies[0].pool, stage=copies[0].stage)))
    return found


def _lost_records(store: HostStore, volumes: Volumes, pool: str, is_known_pool: bool) -> List[CopyRecord]:
    # a copy is marked as dirty before a device is made of it, and as clean when the NAS has all of it
    dirty = {copy.zvol: copy for copy in copies_among(volumes.values()) if copy.kind == "dirty"}
    overlays = {one.known.zvol: one for one in map(_overlay, volumes.values()) if one is not None}
    found = _ended(store, volumes)
    for zvol in sorted({*dirty, *overlays}):
        copy, overlay, known = dirty.get(zvol), overlays.get(zvol), store.copy(zvol)
        # the copy of an earlier grant is not yet the one that this temp-write volume is merged into
        is_earlier = copy is not None and overlay is not None and copy.epoch != overlay.known.epoch
        record = overlay if copy is None or is_earlier else _record(volumes, copy)
        is_merged = copy is not None and _is_merged(volumes, copy)
        is_lost = record is not None and (known is None or _is_older(known, record, is_merged))
        if record is not None and is_lost and _is_made_in(volumes, pool, zvol, is_known_pool):
            found.append(record)
    return found


def _ended(store: HostStore, volumes: Volumes) -> List[CopyRecord]:
    """Older records of images that were written back since: their copies are clean, and no device may be made.

    A received copy is clean before its merge, and then a missing temp-write volume is a loss.
    """
    found = []
    for copy in copies_among(volumes.values()):
        known = store.copy(copy.zvol)
        is_clean = copy.kind == "clean" and names.temp_write_volume(copy.pool, copy.zvol) not in volumes
        if known is None or not is_clean or (known.image_id, known.known.pool) != (copy.image_id, copy.pool):
            continue
        is_later = copy.epoch > known.known.epoch or known.known.stage in ("linear", "merging")
        if known.known.stage != "none" and is_later and copy.epoch >= known.known.epoch:
            over = replace(known.known, stage="none", target=None, serial=None)
            if copy.epoch > over.last_epoch:  # an open request of the time of the backup is over, too
                over = replace(over, epoch=copy.epoch, last_epoch=copy.epoch, last_sequence=0)
            found.append(known._replace(known=over, details={**known.details, "chap": None}))
    return found


def _is_merged(volumes: Volumes, copy: RetainedCopy) -> bool:
    """Whether what the guest wrote while its image was copied is in the copy."""
    merged = stored_properties(volumes[f"{copy.pool}/{copy.zvol}"]).get("merged")
    return merged == names.unit_serial(copy.image_id, copy.epoch)


def _lacks_writes(stage: Stage, volumes: Volumes, copy: RetainedCopy) -> bool:
    """Whether the temp-write volume of a merge that had not ended is gone: the copy alone is old content."""
    has_temp_write = names.temp_write_volume(copy.pool, copy.zvol) in volumes
    return stage == "merging" and not has_temp_write and not _is_merged(volumes, copy)


def _is_older(known: CopyRecord, found: CopyRecord, is_merged: bool) -> bool:
    """A record of an earlier time than the volumes of the image, as from a backup.

    A temp-write volume is made after its stage is recorded. A copy is marked before that, but after its request, and
    not beside devices of an earlier grant. A merge without its temp-write volume is such a record if the copy
    `is_merged`; otherwise writes may be lost.
    """
    stage, now = known.known.stage, found.known.stage
    if known.image_id != found.image_id or known.known.epoch > found.known.epoch:
        return False
    if known.known.epoch == found.known.epoch:
        return (stage == "overlay" and now != "overlay") or (
            stage == "merging" and now == "linear" and is_merged
        )
    return stage != "none" or now != "linear" or known.known.last_epoch < found.known.epoch


def _overlay(volume: VolumeFact) -> Optional[CopyRecord]:
    """The record of an image by its temp-write volume; None of another volume, or when an earlier release made it."""
    stored = stored_properties(volume)
    nas, image_id, nas_volume = (stored.get(name, "") for name in ("nas", "id", "volume"))
    pool, zvol = volume.name.partition("/")[0], nas_volume.rpartition("/")[2]
    numbers = [stored.get(name, "") for name in ("epoch", "size")]
    is_ours = nas and image_id and all(map(str.isdigit, numbers))
    if volume.name != names.temp_write_volume(pool, zvol) or not is_ours:
        return None
    epoch, size_bytes = map(int, numbers)
    target, serial = names.target_name(nas, zvol, epoch), names.unit_serial(image_id, epoch)
    known = HostImage(zvol, pool, epoch, epoch, 0, "overlay", target, serial, size_bytes)
    return CopyRecord(image_id, known, _details(nas, nas_volume, epoch))


def _record(volumes: Volumes, copy: RetainedCopy) -> CopyRecord:
    volume = volumes[f"{copy.pool}/{copy.zvol}"]
    is_merging = names.temp_write_volume(copy.pool, copy.zvol) in volumes
    stage: Stage = "merging" if is_merging else "linear"
    known = HostImage(copy.zvol, copy.pool, copy.epoch, copy.epoch, stage=stage, size_bytes=volume.size_bytes)
    return CopyRecord(
        copy.image_id, known, _details(copy.nas, stored_properties(volume)["volume"], copy.epoch)
    )


def _details(nas: str, nas_volume: str, epoch: int) -> Dict[str, object]:
    """As `CopyRecord.details`; addresses come with the next request, secrets with the next map."""
    places = {"address": "", "portal_port": 0, "stream_port": 0}
    return {"nas": nas, "volume": nas_volume, **places, "chap": None, "evictable": {}, "by_volume": epoch}
