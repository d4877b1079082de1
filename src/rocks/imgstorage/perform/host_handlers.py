"""All deeds of a host: each effect of the model's host side. Done twice, it changes nothing."""

from __future__ import annotations

from typing import Dict

from rocks.errors import BugError
from rocks.imgstorage.model.facts import Facts
from rocks.imgstorage.model.host_effects import HostEffect
from rocks.imgstorage.perform.access import Access
from rocks.imgstorage.perform.copy_handlers import CopyHandlers, Operation
from rocks.imgstorage.perform.device_handlers import DeviceHandlers


class HostHandlers:
    """Does effects; recording a stage is the daemon's, who has the records."""

    def __init__(self, copies: CopyHandlers, devices: DeviceHandlers) -> None:
        self._deeds: Dict[type, Operation] = {**copies.operations, **devices.operations}

    def do(self, effect: HostEffect, access: Access) -> Facts:
        """Do one effect and tell what it found. RocksError, of the family that says who can help, when it cannot."""
        operation = self._deeds.get(type(effect))
        if operation is None:
            raise BugError(f"a host does no {type(effect).__name__}; please report this")
        return operation(effect, access)
