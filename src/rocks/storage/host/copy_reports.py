"""Reports to NASes of copies that a host's records do not know, when it starts."""

from __future__ import annotations

import logging
from typing import Collection, Optional

from rocks.core.errors import RocksError
from rocks.storage.host.retained_copies import RetainedCopy, checked_copy, copies_among, stored_properties
from rocks.storage.store.host import HostStore
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver

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
