"""All handlers of a host. Repeating an effect changes nothing."""

from __future__ import annotations

from typing import Dict

from rocks.core.errors import BugError
from rocks.storage.host.access import Access
from rocks.storage.host.copy_handlers import CopyHandlers, Handler
from rocks.storage.host.device_handlers import DeviceHandlers
from rocks.storage.host.effects import HostEffect
from rocks.storage.life.facts import Facts


class HostHandlers:
    """Performs every effect except RecordStage, which the engine performs on its records."""

    def __init__(self, copies: CopyHandlers, devices: DeviceHandlers) -> None:
        self._handlers: Dict[type, Handler] = {**copies.handlers, **devices.handlers}

    def do(self, effect: HostEffect, access: Access) -> Facts:
        """Perform one effect and return its facts. RocksError when it fails."""
        handler = self._handlers.get(type(effect))
        if handler is None:
            raise BugError(f"the host has no handler for {type(effect).__name__}; please report this")
        return handler(effect, access)
