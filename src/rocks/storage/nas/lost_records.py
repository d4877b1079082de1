"""Records that are missing or disagree with the grant on their volume: compared and made again at the start."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from rocks.core.errors import RocksError, StateError
from rocks.storage.image.effects import Grant
from rocks.storage.image.events import Configure, Contradicted, Retry
from rocks.storage.image.grants import adopted, disagreement
from rocks.storage.image.image import Image
from rocks.storage.image.states import UNMAPPED
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.volumes import NAS_POOL, is_importing, standing_grant
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.silent_pools import PoolReads

_log = logging.getLogger(__name__)


def adopt(engine: Engine, pools: PoolDriver, node: str, zpool: str, zvol: str) -> Optional[Image]:
    """The image of that name, with a record from now on; None without record and volume."""
    known = engine.image_of(zvol)
    if known is not None:
        return known
    volume = pools.read_volume(f"{zpool}/{zvol}")
    return None if volume is None else _add(engine, node, volume)


def adopt_volume(engine: Engine, node: str, volume: VolumeFact, is_new: bool = False) -> None:
    """Have a record of a volume that was just read, or, when it `is_new`, just made: then its record is of this one."""
    known = engine.image_of(volume.name.partition("/")[2])
    if known is None:
        _add(engine, node, volume)
    elif known.volume == volume.name and (is_new or known.volume_guid is None):
        record_guid(engine, known, volume.guid, is_importing(volume))


def adopt_clones(engine: Engine, node: str, volumes: Sequence[VolumeFact]) -> None:
    """Have records of volumes that were just made, stored at once: each by itself waits for the disk."""
    images: List[Image] = []
    for volume in volumes:
        zpool, _, zvol = volume.name.partition("/")
        if standing_grant(volume) == Grant() and engine.image_of(zvol) is None:
            images.append(Image(str(uuid.uuid4()), node, zpool, zvol, volume_guid=volume.guid))
        else:
            adopt_volume(engine, node, volume, is_new=True)
    engine.add(*images)


def record_guid(engine: Engine, image: Image, guid: Optional[str], importing: bool = False) -> None:
    """Have the record name the volume with that guid, or none; only of an image that no host has had."""
    if not image.epoch and image.owner is None and image.state == UNMAPPED and image.volume_guid != guid:
        engine.add(replace(image, volume_guid=guid, importing=importing))


def adopt_owned(engine: Engine, node: str, volumes: Sequence[VolumeFact]) -> None:
    """All of these volumes that hosts have and that have no record: guests may run from them. StateError, for another
    round, when one has got none.

    A volume that names another pool is in a replica of that, with old content: it is logged, and left alone.
    """
    known, failures = {image.volume for image in engine.images()}, []
    for volume in volumes:
        # names of images have no further slash
        is_unknown = volume.name not in known and volume.name.count("/") == 1
        if not is_unknown or standing_grant(volume).owner is None:
            continue
        pool = volume.name.partition("/")[0]
        stated = volume.property_value(NAS_POOL) or pool
        if stated != pool:
            _log.error(
                "%s gets no record: its grant names the pool %s. If it is no replica, but in a renamed pool: zfs set "
                "%s=%s %s and systemctl restart rocks-imgstorage-nas",
                *(volume.name, stated, NAS_POOL, pool, volume.name),
            )
            continue
        try:
            _add(engine, node, volume)
        except RocksError as error:
            failures.append(f"{volume.name} gets no record: {error}")
    if failures:
        raise StateError("; ".join(failures[:3]))


def _add(engine: Engine, node: str, volume: VolumeFact) -> Image:
    standing = standing_grant(volume)
    zpool, _, zvol = volume.name.partition("/")
    new_id = str(uuid.uuid4())
    image = replace(adopted(node, zpool, zvol, standing, new_id, volume.guid), importing=is_importing(volume))
    if engine.image(image.image_id) is not None:
        # the former volume of an image that was restored has the id of the present one
        image = adopted(node, zpool, zvol, replace(standing, image_id=""), new_id, volume.guid)
    engine.add(image)
    if standing.epoch:
        _log.warning("%s was not in the records and is adopted by its properties", volume.name)
    if standing.owner is not None:
        engine.take(image.image_id, Retry("", standing))
    return engine.image(image.image_id) or image


# --- every record is compared with the grant on its volume when the daemon starts ------------------------------------


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
