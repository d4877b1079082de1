"""The exports that hosts wait for, made again when the daemon starts: what LIO knows does not survive a reboot."""

from __future__ import annotations

import logging
import threading
from typing import Dict, Optional

from rocks.devices.iscsi_target.driver import TargetDriver
from rocks.errors import RocksError
from rocks.imgstorage.model import steps
from rocks.imgstorage.model.effects import EnsureExport, EnsureExportGone
from rocks.imgstorage.nas_daemon.engine import Engine
from rocks.imgstorage.perform.nas_handlers import NasHandlers

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0


class Exports:
    """Makes them before anything else; those of a pool that is not there yet when it has come."""

    def __init__(self, engine: Engine, operations: NasHandlers, targets: TargetDriver) -> None:
        self._engine = engine
        self._deeds = operations
        self._targets = targets
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def rebuild(self) -> None:
        """Have those that are wanted, and no other of ours."""
        wanted = self._wanted()
        for fact in self._targets.read_exports():
            if fact.target not in wanted:
                self._targets.ensure_export_gone(fact.target)
        for spare in self._targets.read_unused_backstores():
            if spare not in wanted:
                self._targets.ensure_export_gone(spare)
        missing = self._make(wanted)
        if missing:
            self._thread = threading.Thread(target=self._retry, args=(missing,), name="exports", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End; what is missing by then is made by the next start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _retry(self, missing: Dict[str, EnsureExport]) -> None:
        while missing and not self._stopping.wait(AGAIN_SECONDS):
            wanted = self._wanted()
            for target in missing.keys() - wanted.keys():
                self._drop(target)
            missing = self._make({target: export for target, export in wanted.items() if target in missing})

    def _drop(self, target: str) -> None:
        try:
            self._deeds.do(EnsureExportGone(target))
        except RocksError as error:
            _log.error("the export %s, which nobody wants any more, stays: %s", target, error)

    def _wanted(self) -> Dict[str, EnsureExport]:
        exports = [steps.export_spec(image) for image in self._engine.images()]
        return {export.target: export for export in exports if export is not None}

    def _make(self, exports: Dict[str, EnsureExport]) -> Dict[str, EnsureExport]:
        """Make them; returns those that could not be made."""
        missing: Dict[str, EnsureExport] = {}
        for target, export in exports.items():
            if self._stopping.is_set():
                return missing
            try:
                self._deeds.do(export)
                if target not in self._wanted():
                    self._deeds.do(EnsureExportGone(target))  # its image came home while it was being made
            except RocksError as error:
                _log.error("the export %s could not be made again, and is tried again: %s", target, error)
                missing[target] = export
        return missing
