"""Compares every record with the grant on its volume when the daemon starts, and adopts volumes without a record."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Collection, Dict, Tuple

from rocks.core.errors import RocksError
from rocks.storage.life.events import Configure, Contradicted
from rocks.storage.life.grants import disagreement
from rocks.storage.life.image import Image
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.handlers import standing_grant
from rocks.storage.nas.unknown_images import adopt_owned
from rocks.storage.zfs.driver import PoolDriver
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool_reads import PoolReads

_log = logging.getLogger(__name__)


class Comparison:
    """Blocks the images whose record and volume contradict each other. Pools that are late are compared later."""

    def __init__(self, engine: Engine, pools: PoolDriver, node: str, own_pool: str) -> None:
        self._engine = engine
        self._pools = pools
        self._node = node
        self._own_pool = own_pool
        self.unread: Dict[str, str] = {}
        """Pool → why its images could not be compared yet."""

    def begin(self) -> None:
        """Compare all images, before any export is removed and any request accepted."""
        left = {self._own_pool, *(image.pool for image in self._engine.images())}
        try:
            left |= set(self._pools.list_pools())
        except RocksError as error:
            _log.warning("images in other pools than those of the records are not looked for: %s", error)
        self._compare_all(left)

    def go_on(self) -> None:
        """Compare the pools that could not be read before."""
        self._compare_all(self.unread)

    def _compare_all(self, names: Collection[str]) -> None:
        """All are read at once: the images of a pool that hangs hold those of the others for a limited time only."""
        reads, unread = PoolReads(), {}
        reading = {pool: reads.begin(self._pools.list_volumes, pool) for pool in sorted(names)}
        reads.close()
        for pool, one in reading.items():
            try:
                self._compare(pool, reads.result(one))
            except RocksError as error:
                unread[pool] = str(error)
                _log.warning("the images in %s are not compared with their volumes yet: %s", pool, error)
        self.unread = unread

    def _compare(self, pool: str, found: Tuple[VolumeFact, ...]) -> None:
        volumes = {volume.name: volume for volume in found}
        for image in self._engine.images():
            volume = volumes.get(image.volume)
            if volume is not None and image.volume_guid in (None, volume.guid):
                self._look_at(image, volume)
        adopt_owned(self._engine, self._node, found)

    def _look_at(self, image: Image, volume: VolumeFact) -> None:
        standing = standing_grant(volume)
        persistent = image.persistent if standing.persistent is None else standing.persistent
        text = disagreement(replace(image, persistent=persistent), standing)
        if text is not None and not image.disagrees:
            _log.error("%s: %s", image.volume, text)
            self._engine.take(image.image_id, Contradicted(text))
        if (
            persistent != image.persistent
        ):  # afterwards: it wakes a worker, which goes on with the step of the record
            _log.warning("%s: persistent is %s, as the volume says", image.volume, persistent)
            self._engine.take(image.image_id, Configure("", persistent))
