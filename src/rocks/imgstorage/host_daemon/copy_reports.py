"""What a host tells its NASes when it starts: the copies that lie there, also those that its records do not know."""

from __future__ import annotations

import logging
import uuid
from typing import Dict

from rocks.devices.zfs.driver import PoolDriver
from rocks.errors import RocksError
from rocks.imgstorage.perform.kept_copies import KeptCopy, looked_at, marked_copies
from rocks.imgstorage.store.file import OutboxMessage
from rocks.imgstorage.store.host import HostStore
from rocks.wire.imgstorage_messages import HOST_NEWS, write_message
from rocks.wire.queues import nas_queue

_log = logging.getLogger(__name__)


def report_copies(store: HostStore, pools: PoolDriver, own_pool: str) -> None:
    """Record a message for each copy that the records do not know: a host may be installed anew over its pool.

    Of all others the NAS has been told by what the host answered. A pool that cannot be read is told in the log: what
    it has will be seen when its images are mapped.
    """
    known_pools = {copy.known.pool for copy in store.copies() if copy.known.pool}
    for pool in sorted({own_pool, *known_pools}):
        try:
            unknown = [copy for copy in marked_copies(pools, pool) if store.copy(copy.zvol) is None]
            found = [looked_at(pools, copy) for copy in unknown]
        except RocksError as error:
            _log.warning("copies in the pool %s are not told: %s", pool, error)
            continue
        with store.transaction():
            for copy in found:
                # a NAS that has asked for it meanwhile knows better
                if store.copy(copy.zvol) is None:
                    store.post(_news(copy))


def _news(copy: KeptCopy) -> OutboxMessage:
    found: Dict[str, object] = {
        "pool": copy.pool,
        "copy_epoch": copy.epoch,
        "kind": copy.kind,
        "guid": copy.guid,
    }
    body = write_message(HOST_NEWS, {"copy": found}, image_id=copy.image_id, epoch=copy.epoch)
    return OutboxMessage(f"copy-{uuid.uuid4()}", nas_queue(copy.nas), "request", None, None, body)
