"""The exports that hosts need, made again when LIO has lost them: at a reboot, or by `targetcli clearconfig`."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import Dict, Mapping, Set, Tuple

from rocks.core.clock import Deadline
from rocks.core.errors import RocksError, StateError
from rocks.core.periodic import PeriodicThread
from rocks.storage.iscsi.target import Targets
from rocks.storage.life.effects import EnsureExport, EnsureExportGone
from rocks.storage.life.grants import is_recovering
from rocks.storage.life.names import is_target_of
from rocks.storage.nas import sequences
from rocks.storage.nas.engine import Engine, Perform
from rocks.storage.nas.export_handlers import SecretsOf
from rocks.storage.zfs.tool import COMMAND_SECONDS, pool_of

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
_ROUND_SECONDS = 60.0


class Exports(PeriodicThread):
    """Restores the exports first; then those that LIO loses, and those of a missing pool when the pool appears."""

    def __init__(self, engine: Engine, perform: Perform, targets: Targets, secrets_of: SecretsOf) -> None:
        super().__init__("exports", AGAIN_SECONDS, self.look, "the exports were not compared with LIO's")
        self._engine = engine
        self._perform = perform
        self._targets = targets
        self._secrets_of = secrets_of
        self.failures: Dict[str, str] = {}
        """Target → why its export could not be made again; it is tried again."""

    def rebuild(self, unread: Mapping[str, str]) -> None:
        """Make the expected exports and remove this system's other exports.

        Those of the `unread` pools (pool → why) are tried afterwards: one that hangs must not hold the start. A missing
        record is no reason to remove an export that a host uses: its guest would hang.
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
                self._remove(fact.target)
        for unused in self._targets.read_unused_backstores():
            if unused not in expected:
                self._remove(unused)
        self._make(expected, unread)

    def look(self) -> float:
        """Make exports again that LIO has no longer, not completely, or with other passwords; returns the seconds until
        the next round.

        It removes no export: one that nobody expects may be of another program.
        """
        before = self._made()
        complete = {fact.target: fact.initiators for fact in self._targets.read_exports() if fact.is_complete}
        # those expected before and after the listing: others were being made or removed meanwhile
        lost = {
            target: export
            for target, export in self._made().items()
            if target in before and self._is_lost(export, complete.get(target, ()))
        }
        for target in sorted(lost.keys() - self.failures.keys()):
            _log.warning(
                "LIO has lost the export %s for %s, or its passwords; it is made again",
                target,
                lost[target].initiator,
            )
        self._make(lost)
        return AGAIN_SECONDS if self.failures else _ROUND_SECONDS

    def _is_lost(self, export: EnsureExport, initiators: Tuple[str, ...]) -> bool:
        if initiators != (export.initiator,):
            return export.initiator not in initiators
        secrets = self._secrets_of(export.target)
        return secrets is not None and self._targets.read_secrets(export.target) != secrets

    def _remove(self, target: str) -> None:
        """Without it the daemon starts all the same: the other images wait for it."""
        try:
            self._targets.ensure_export_gone(target)
        except RocksError as error:
            _log.error("the export %s, which no image needs, stays: %s", target, error)

    def _drop(self, target: str) -> None:
        try:
            self._perform(EnsureExportGone(target))
        except RocksError as error:
            _log.error("the export %s, which is no longer needed, stays: %s", target, error)

    def _expected(self) -> Dict[str, EnsureExport]:
        exports = [sequences.export_spec(image) for image in self._engine.images()]
        return {export.target: export for export in exports if export is not None}

    def _made(self) -> Dict[str, EnsureExport]:
        """The expected exports without those that a worker is making."""
        works = [image.work for image in self._engine.images() if image.work is not None]
        making = {one.target for work in works for one in work.open_effects if isinstance(one, EnsureExport)}
        return {target: export for target, export in self._expected().items() if target not in making}

    def _uncertain(self) -> Set[str]:
        """Exports of images whose volume has another grant than the record: a guest may wait for them."""
        images = [image for image in self._engine.images() if image.disagrees or is_recovering(image)]
        return {
            fact.target
            for fact in self._targets.read_exports()
            if any(is_target_of(fact.target, image.nas, image.zvol) for image in images)
        }

    def _make(
        self, exports: Dict[str, EnsureExport], unread: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make them; `failures` has those that could not be made.

        Those that failed before come last. After one for which ZFS has not answered, its pool's others are left to the
        next round.
        """
        failures: Dict[str, str] = {}
        left_out = dict(unread)
        for target, export in sorted(exports.items(), key=lambda one: one[0] in self.failures):
            if self._stopping.is_set():
                return
            if target not in self._expected():
                continue  # its image was written back meanwhile, and has no password for it
            pool, deadline = pool_of(export.volume), Deadline(COMMAND_SECONDS)
            try:
                if pool in left_out:
                    raise StateError(left_out[pool])
                self._perform(export)
            except RocksError as error:
                if deadline.passed():
                    left_out[pool] = str(error)
                failures[target] = f"the export could not be made again, and is tried again: {error}"
                if failures[target] != self.failures.get(target):
                    _log.error("%s: %s", target, failures[target])
            if target not in self._expected():
                self._drop(target)  # its image was written back meanwhile
        self.failures = failures
