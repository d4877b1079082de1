"""Copies that a host's records do not know, when it starts: those with changes get records, and NASes get reports.

A host that was installed anew over its pool has the records from the properties of the copies there.
"""

from __future__ import annotations

import logging
from typing import Collection, Dict, FrozenSet, Optional

from rocks.core.errors import RocksError
from rocks.storage.host.copies import RetainedCopy, checked_copy, retained_copies
from rocks.storage.life import names
from rocks.storage.life.facts import Stage
from rocks.storage.life.host_image import HostImage
from rocks.storage.store.host import CopyRecord, HostStore
from rocks.storage.zfs.driver import PoolDriver
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.names import OUR_PREFIX

_log = logging.getLogger(__name__)


def report_copies(
    store: HostStore, pools: PoolDriver, own_pool: str, recovered: Collection[str] = ()
) -> None:
    """Record a message for each unknown or `recovered` copy: the host may have been reinstalled over its pool.

    The NAS knows all others from the host's answers. A pool that cannot be read is logged; its copies are found when
    their images are mapped.
    """
    known_pools = {copy.known.pool for copy in store.copies() if copy.known.pool}
    for pool in sorted({own_pool, *known_pools}):
        try:
            unknown = [
                copy
                for copy in retained_copies(pools, pool)
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


def recover_records(store: HostStore, pools: PoolDriver, pool: str) -> FrozenSet[str]:
    """Record every copy with changes that has no record, so that its device is rebuilt and its NAS can have the
    changes; returns the names.

    A pool that cannot be read is logged: then a request of the NAS finds no stage, and the NAS asks what is there.
    """
    try:
        found = [_record(pools, copy) for copy in retained_copies(pools, pool) if _is_unknown(store, copy)]
    except RocksError as error:
        _log.warning("copies in the pool %s are not looked for: %s", pool, error)
        return frozenset()
    recovered = [record for record in found if record is not None]
    for record in recovered:
        store.keep(record)
        _log.warning("%s had no record, and is %s by its properties", record.known.zvol, record.known.stage)
    return frozenset(record.known.zvol for record in recovered)


def _is_unknown(store: HostStore, copy: RetainedCopy) -> bool:
    # a copy is marked as dirty before a device is made of it, and as clean when the NAS has all of it
    return copy.kind == "dirty" and store.copy(copy.zvol) is None


def _record(pools: PoolDriver, copy: RetainedCopy) -> Optional[CopyRecord]:
    volume = pools.read_volume(f"{copy.pool}/{copy.zvol}")
    if volume is None:
        return None
    is_merging = pools.read_volume(names.temp_write_volume(copy.pool, copy.zvol)) is not None
    stage: Stage = "merging" if is_merging else "linear"
    known = HostImage(copy.zvol, copy.pool, copy.epoch, copy.epoch, stage=stage, size_bytes=volume.size_bytes)
    return CopyRecord(copy.image_id, known, _details(copy, volume))


def _details(copy: RetainedCopy, volume: VolumeFact) -> Dict[str, object]:
    """As `CopyRecord.details`; addresses come with the next request."""
    nas_volume = volume.property_value(f"{OUR_PREFIX}volume")
    places = {"address": "", "portal_port": 0, "stream_port": 0}
    return {"nas": copy.nas, "volume": nas_volume, **places, "chap": None, "evictable": {}}
