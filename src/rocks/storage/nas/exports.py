"""Exports of a NAS, each a volume or snapshot as an iSCSI target for one host: effects on them, and lost ones."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import Callable, Dict, Mapping, Optional, Set, Tuple, Type

from rocks.core.clock import Deadline
from rocks.core.errors import BugError, RocksError, StateError
from rocks.core.periodic import PeriodicThread
from rocks.storage.image import effects
from rocks.storage.image.effects import EnsureExport, EnsureExportGone
from rocks.storage.image.grants import is_recovering
from rocks.storage.image.image import NOTHING, Facts
from rocks.storage.image.names import is_earlier_target, is_target_of
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.iscsi.target import ExportFact, ExportSpec, Portal, Targets
from rocks.storage.limits import DEVICE_SECONDS
from rocks.storage.nas import sequences
from rocks.storage.nas.engine import Engine, Perform
from rocks.storage.nas.volumes import check_identity, needed_volume
from rocks.storage.zfs.pool import PoolDriver
from rocks.storage.zfs.tool import COMMAND_SECONDS, pool_of

_log = logging.getLogger(__name__)

_DEVICES = "/dev/zvol/"


SecretsOf = Callable[[str], Optional[ChapSecrets]]
"""The secrets of a target's present export."""


class ExportHandlers:
    """The handlers of effects on exports."""

    def __init__(self, pools: PoolDriver, targets: Targets, portal: Portal, secrets_of: SecretsOf) -> None:
        self._pools = pools
        self._targets = targets
        self._portal = portal
        self._secrets_of = secrets_of
        self.handlers: Dict[Type[object], Callable[..., Facts]] = {
            effects.EnsureExport: self._ensure_export,
            effects.EnsureExportGone: self._ensure_export_gone,
        }

    def _ensure_export(self, effect: effects.EnsureExport) -> Facts:
        name, volume = effect.volume, needed_volume(self._pools, effect.volume)
        check_identity(name, volume, effect.guid or volume.guid)
        if effect.snapshot is not None:
            self._pools.ensure_snapshots_visible(name, volume.guid)
            name = f"{name}@{effect.snapshot}"
        else:
            # a NAS that loses power must not lose acknowledged writes: the guest runs on
            self._pools.ensure_synchronous(name, volume.guid)
        secrets = self._secrets_of(effect.target)
        if secrets is None:
            raise BugError(f"the export {effect.target} has no secrets; please report this")
        spec = ExportSpec(
            target=effect.target,
            device_path=self._pools.wait_for_device(name, Deadline(DEVICE_SECONDS)),
            read_only=effect.snapshot is not None,
            initiator=effect.initiator,
            chap=secrets,
            portal_address=self._portal.address,
            portal_port=self._portal.port,
            unit_serial=effect.serial,
        )
        try:
            self._targets.ensure_export(spec)
        except StateError:
            # of an earlier map, as after the loss of the records; with those of a backup it would be of a later one
            exports = [one for one in self._targets.read_exports() if one.device_path == spec.device_path]
            former = [one for one in exports if is_earlier_target(one.target, spec.target)]
            if not former:
                raise
            self._end_former(former[0])
            self._targets.ensure_export(spec)
        return NOTHING

    def _end_former(self, former: ExportFact) -> None:
        """Remove it. StateError while a host uses it: its guest would hang."""
        if former.sessions:
            raise StateError(
                f"{former.device_path} is still exported as {former.target}, for an earlier map of the image, and "
                f"{', '.join(former.sessions)} uses it: stop its machine there, run iscsiadm -m node -T "
                f"{former.target} -u there, and repeat the command"
            )
        self._targets.ensure_export_gone(former.target)

    def _ensure_export_gone(self, effect: effects.EnsureExportGone) -> Facts:
        exports = self._targets.read_exports()
        found = [one for one in exports if one.target == effect.target]
        self._targets.ensure_export_gone(effect.target)
        for one in exports:
            if is_earlier_target(one.target, effect.target) and not one.sessions:
                try:
                    self._targets.ensure_export_gone(one.target)
                    found.append(one)
                except RocksError as error:  # the image goes on without that; its next map tries again
                    _log.error("the export %s of an earlier map stays: %s", one.target, error)
        for one in found:
            self._hide_snapshots(one.device_path[len(_DEVICES) :])
        return NOTHING

    def _hide_snapshots(self, exported: str) -> None:
        """Hide the devices of snapshots, which udev reads whenever the NAS boots; only an export needs them."""
        volume, at, _ = exported.partition("@")
        found = self._pools.read_volume(volume) if at else None
        if found is not None:
            self._pools.ensure_snapshots_hidden(volume, found.guid)


# --- lost exports are made again, after a reboot or `targetcli clearconfig` ------------------------------------------


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
