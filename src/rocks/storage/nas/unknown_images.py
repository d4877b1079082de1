"""A volume without a record: it gets one from the grant in its properties."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import List, Optional, Sequence

from rocks.core.errors import RocksError, StateError
from rocks.storage.life.effects import Grant
from rocks.storage.life.events import Retry
from rocks.storage.life.grants import adopted
from rocks.storage.life.image import Image
from rocks.storage.life.states import UNMAPPED
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.imports import is_importing
from rocks.storage.nas.volume_handlers import NAS_POOL, standing_grant
from rocks.storage.zfs.facts import VolumeFact
from rocks.storage.zfs.pool import PoolDriver

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
