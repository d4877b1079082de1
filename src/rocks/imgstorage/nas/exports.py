"""The exports that hosts need, restored when the daemon starts: LIO forgets them at a reboot."""

from __future__ import annotations

import logging
import threading
from typing import Dict, Optional

from rocks.devices.iscsi_target.driver import TargetDriver
from rocks.errors import RocksError
from rocks.imgstorage.life.effects import EnsureExport, EnsureExportGone
from rocks.imgstorage.nas import sequences
from rocks.imgstorage.nas.engine import Engine
from rocks.imgstorage.nas.handlers import NasHandlers

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0


class Exports:
    """Restores the exports first; those of a missing pool when the pool appears."""

    def __init__(self, engine: Engine, handlers: NasHandlers, targets: TargetDriver) -> None:
        self._engine = engine
        self._handlers = handlers
        self._targets = targets
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def rebuild(self) -> None:
        """Make the expected exports and remove this system's other exports."""
        expected = self._expected()
        for fact in self._targets.read_exports():
            if fact.target not in expected:
                self._targets.ensure_export_gone(fact.target)
        for unused in self._targets.read_unused_backstores():
            if unused not in expected:
                self._targets.ensure_export_gone(unused)
        missing = self._make(expected)
        if missing:
            self._thread = threading.Thread(target=self._retry, args=(missing,), name="exports", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End; missing exports are made at the next start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _retry(self, missing: Dict[str, EnsureExport]) -> None:
        while missing and not self._stopping.wait(AGAIN_SECONDS):
            expected = self._expected()
            for target in missing.keys() - expected.keys():
                self._drop(target)
            missing = self._make({target: export for target, export in expected.items() if target in missing})

    def _drop(self, target: str) -> None:
        try:
            self._handlers.do(EnsureExportGone(target))
        except RocksError as error:
            _log.error("the export %s, which is no longer needed, stays: %s", target, error)

    def _expected(self) -> Dict[str, EnsureExport]:
        exports = [sequences.export_spec(image) for image in self._engine.images()]
        return {export.target: export for export in exports if export is not None}

    def _make(self, exports: Dict[str, EnsureExport]) -> Dict[str, EnsureExport]:
        """Make them; returns those that could not be made."""
        missing: Dict[str, EnsureExport] = {}
        for target, export in exports.items():
            if self._stopping.is_set():
                return missing
            try:
                self._handlers.do(export)
                if target not in self._expected():
                    self._handlers.do(EnsureExportGone(target))  # its image was written back meanwhile
            except RocksError as error:
                _log.error("the export %s could not be made again, and is tried again: %s", target, error)
                missing[target] = export
        return missing
