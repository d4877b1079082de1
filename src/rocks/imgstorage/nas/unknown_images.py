"""A volume without a record: it gets one from its properties."""

from __future__ import annotations

import logging
import uuid
from typing import Optional

from rocks.devices.zfs.driver import PoolDriver
from rocks.imgstorage.life.adoption import adopted
from rocks.imgstorage.life.image import Image
from rocks.imgstorage.nas.engine import Engine
from rocks.imgstorage.nas.handlers import PROPERTY_PREFIX

_log = logging.getLogger(__name__)


def adopt(engine: Engine, pools: PoolDriver, node: str, zpool: str, zvol: str) -> Optional[Image]:
    """The image of that name, with a record from now on; None without record and volume."""
    known = engine.image_of(zvol)
    if known is not None:
        return known
    volume = pools.read_volume(f"{zpool}/{zvol}")
    if volume is None:
        return None
    stored = {
        key[len(PROPERTY_PREFIX) :]: value
        for key, value in volume.properties
        if key.startswith(PROPERTY_PREFIX)
    }
    image = adopted(node, zpool, zvol, stored, str(uuid.uuid4()))
    engine.add(image)
    if image.epoch:
        _log.warning("%s was not in the records and is adopted by its properties", volume.name)
    return image
