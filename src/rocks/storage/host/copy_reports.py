"""Reports to the NASes when a host starts: the copies that its records do not know."""

from __future__ import annotations

import logging
import uuid
from typing import Collection, Dict

from rocks.core.errors import RocksError
from rocks.storage.host.copies import RetainedCopy, checked_copy, retained_copies
from rocks.storage.store.file import OutboxMessage
from rocks.storage.store.host import HostStore
from rocks.storage.wire.messages import HOST_NEWS, write_message
from rocks.storage.wire.queues import nas_queue
from rocks.storage.zfs.driver import PoolDriver

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
                    store.post(_news(copy))


def _news(copy: RetainedCopy) -> OutboxMessage:
    found: Dict[str, object] = {
        "pool": copy.pool,
        "copy_epoch": copy.epoch,
        "kind": copy.kind,
        "guid": copy.guid,
    }
    body = write_message(HOST_NEWS, {"copy": found}, image_id=copy.image_id, epoch=copy.epoch)
    return OutboxMessage(f"copy-{uuid.uuid4()}", nas_queue(copy.nas), "request", None, None, body)
