"""The exports that hosts need, restored when the daemon starts: LIO forgets them at a reboot."""

from __future__ import annotations

import logging
import threading
from typing import Dict, Optional, Set

from rocks.core.errors import RocksError
from rocks.storage.iscsi_target.targets import Targets
from rocks.storage.life.effects import EnsureExport, EnsureExportGone
from rocks.storage.life.grants import is_recovering
from rocks.storage.life.names import is_target_of
from rocks.storage.nas import sequences
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.handlers import NasHandlers

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0


class Exports:
    """Restores the exports first; those of a missing pool when the pool appears."""

    def __init__(self, engine: Engine, handlers: NasHandlers, targets: Targets) -> None:
        self._engine = engine
        self._handlers = handlers
        self._targets = targets
        self._stopping = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def rebuild(self) -> None:
        """Make the expected exports and remove this system's other exports.

        A missing record is no reason to remove an export that a host uses: its guest would hang.
        """
        expected, uncertain = self._expected(), self._uncertain()
        for fact in self._targets.read_exports():
            if fact.target in expected or fact.target in uncertain:
                continue
            if fact.sessions:
                _log.error(
                    "the export %s stays without a record: %s uses it; `rocks list host storagemap` shows the image",
                    fact.target,
                    ", ".join(fact.sessions),
                )
            else:
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

    def _uncertain(self) -> Set[str]:
        """Exports of images whose volume has another grant than the record: a guest may wait for them."""
        images = [image for image in self._engine.images() if image.disagrees or is_recovering(image)]
        return {
            fact.target
            for fact in self._targets.read_exports()
            if any(is_target_of(fact.target, image.nas, image.zvol) for image in images)
        }

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
