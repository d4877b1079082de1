"""Compares every record with the grant on its volume when the daemon starts, and adopts volumes without a record."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Collection, Dict, Mapping, Set, Tuple

from rocks.core.errors import RocksError, StateError
from rocks.storage.life.events import Configure, Contradicted
from rocks.storage.life.grants import disagreement
from rocks.storage.life.image import Image
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.imports import is_importing
from rocks.storage.nas.unknown_images import adopt_owned
from rocks.storage.nas.volume_handlers import standing_grant
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.silent_pools import PoolReads

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
        self.read: Set[str] = set()
        """Pools that answered when the daemon started."""

    def begin(self) -> None:
        """Compare all images, before any export is removed and any request accepted."""
        reads, known = PoolReads(), {self._own_pool, *(image.pool for image in self._engine.images())}
        listing = reads.begin(self._pools.list_pools)
        reads.close()
        try:
            known |= {*reads.result(listing)}
        except RocksError as error:
            _log.warning("images in other pools than those of the records are not looked for: %s", error)
        self._compare_all(known)
        self.read = known - self.unread.keys()

    def go_on(self) -> None:
        """Compare the pools that could not be read before."""
        self._compare_all(self.unread)

    def _compare_all(self, names: Collection[str]) -> None:
        """All are read at once: the images of a pool that hangs hold those of the others for a limited time only."""
        before = {image.image_id: image for image in self._engine.images()}
        reads, unread = PoolReads(), {}
        reading = {pool: reads.begin(self._pools.list_volumes, pool) for pool in sorted(names)}
        reads.close()
        for pool, one in reading.items():
            try:
                self._compare(reads.result(one), before)
            except RocksError as error:
                unread[pool] = str(error)
                _log.warning("the images in %s are not compared with their volumes yet: %s", pool, error)
        self.unread = unread

    def _compare(self, found: Tuple[VolumeFact, ...], before: Mapping[str, Image]) -> None:
        """`before` has the images by id when the reading began. StateError, for another round, when some have changed:
        what was read of them may be from before their change, and would contradict the record.
        """
        volumes, changed = {volume.name: volume for volume in found}, []
        for image in self._engine.images():
            volume = volumes.get(image.volume)
            if volume is None or image.volume_guid not in (None, volume.guid):
                continue
            if before.get(image.image_id) == image:
                self._look_at(image, volume)
            else:
                changed.append(image.zvol)
        former = {image.volume for image in before.values()}  # it may be removed by now
        adopt_owned(self._engine, self._node, [volume for volume in found if volume.name not in former])
        if changed:
            raise StateError(f"{', '.join(changed[:3])} changed while they were read; they are read again")

    def _look_at(self, image: Image, volume: VolumeFact) -> None:
        if image.importing != is_importing(volume):  # a daemon that was killed, or had no such records
            self._engine.set_importing(image.zvol, is_importing(volume))
        standing = standing_grant(volume)
        persistent = image.persistent if standing.persistent is None else standing.persistent
        text = disagreement(replace(image, persistent=persistent), standing)
        if text is not None and not image.disagrees:
            _log.error("%s: %s", image.volume, text)
            self._engine.take(image.image_id, Contradicted(text))
        # afterwards: it wakes a worker, which goes on with the step of the record
        if persistent != image.persistent:
            _log.warning("%s: persistent is %s, as the volume says", image.volume, persistent)
            self._engine.take(image.image_id, Configure("", persistent))
