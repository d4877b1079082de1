"""A volume that is there and of which the daemon has no record yet: it gets one, by its own properties."""

from __future__ import annotations

import logging
import uuid
from typing import Optional

from rocks.devices.zfs.driver import PoolDriver
from rocks.imgstorage.model.adoption import adopted
from rocks.imgstorage.model.image import Image
from rocks.imgstorage.nas_daemon.engine import Engine
from rocks.imgstorage.perform.nas_handlers import PROPERTY_PREFIX

_log = logging.getLogger(__name__)


def adopt(engine: Engine, pools: PoolDriver, node: str, zpool: str, zvol: str) -> Optional[Image]:
    """The image of that name, with a record from now on; None when there is neither record nor volume."""
    known = engine.image_of(zvol)
    if known is not None:
        return known
    volume = pools.read_volume(f"{zpool}/{zvol}")
    if volume is None:
        return None
    said = {
        key[len(PROPERTY_PREFIX) :]: value
        for key, value in volume.properties
        if key.startswith(PROPERTY_PREFIX)
    }
    image = adopted(node, zpool, zvol, said, str(uuid.uuid4()))
    engine.add(image)
    if image.epoch:
        _log.warning("%s was not in the records, and is taken on by what it says of itself", volume.name)
    return image
