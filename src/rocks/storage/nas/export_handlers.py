"""The handlers of effects on exports: a volume or snapshot as an iSCSI target for one host."""

from __future__ import annotations

import logging
from typing import Callable, Dict, Optional, Type

from rocks.core.clock import Deadline
from rocks.core.errors import BugError, RocksError, StateError
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.iscsi.target import ExportFact, ExportSpec, Portal, Targets
from rocks.storage.life import effects
from rocks.storage.life.facts import NOTHING, Facts
from rocks.storage.life.names import is_earlier_target
from rocks.storage.limits import DEVICE_SECONDS
from rocks.storage.nas.volume_handlers import check_identity, needed_volume
from rocks.storage.zfs.pool import PoolDriver

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
