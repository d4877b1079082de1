"""The handlers of effects on snapshots: the base of a host's copy, its hold, and what was received from a host."""

from __future__ import annotations

from typing import Callable, Dict, Tuple, Type

from rocks.core.errors import IncoherentError, StateError
from rocks.storage.life import effects
from rocks.storage.life.facts import NOTHING, Facts, HistoryPoint
from rocks.storage.life.names import HOLD_TAG, has_automatic_name
from rocks.storage.nas.held_snapshots import ends_at, present_snapshot
from rocks.storage.nas.volume_handlers import (
    check_identity,
    holders,
    is_not_ours,
    needed_volume,
    standing_grant,
)
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, SendSpec
from rocks.storage.zfs.pool import PoolDriver


class SnapshotHandlers:
    """The handlers of effects on snapshots of volumes."""

    def __init__(self, pools: PoolDriver) -> None:
        self._pools = pools
        self.handlers: Dict[Type[object], Callable[..., Facts]] = {
            effects.EnsureBase: self._ensure_base,
            effects.EnsureOnlyHold: self._ensure_only_hold,
            effects.EnsureSnapshot: self._ensure_snapshot,
            effects.ReadHistory: self._read_history,
            effects.VerifyReceived: self._verify_received,
            effects.EnsurePartialGone: self._ensure_partial_gone,
        }

    def _ensure_base(self, effect: effects.EnsureBase) -> Facts:
        volume = needed_volume(self._pools, effect.volume)
        newest = present_snapshot(self._pools, effect.volume, self._pools.read_history(effect.volume))
        if newest is None:
            newest = self._pools.ensure_snapshot(effect.volume, volume.guid, effect.name, AUTOMATIC_PROPERTY)
        self._pools.ensure_hold(effect.volume, newest.name, newest.guid, HOLD_TAG)
        return Facts(
            base_name=newest.name,
            base_guid=newest.guid,
            seed_bytes=self._pools.estimate_send(SendSpec(effect.volume, newest.name, newest.guid)),
            history=self._points(effect.volume),
        )

    def _points(self, volume: str) -> Tuple[HistoryPoint, ...]:
        snapshots = self._pools.read_history(volume).snapshots
        return tuple(HistoryPoint(point.guid, point.written_bytes) for point in snapshots)

    def _read_history(self, effect: effects.ReadHistory) -> Facts:
        return Facts(history=self._points(effect.volume))

    def _ensure_only_hold(self, effect: effects.EnsureOnlyHold) -> Facts:
        if is_not_ours(self._pools.read_volume(effect.volume), effect.only_on):
            return NOTHING
        if effect.name is not None and effect.guid is not None:
            self._pools.ensure_hold(effect.volume, effect.name, effect.guid, HOLD_TAG)
        for snapshot in self._pools.read_history(effect.volume).snapshots:
            if HOLD_TAG in snapshot.holds and snapshot.guid != effect.guid:
                self._pools.ensure_released(effect.volume, snapshot.name, snapshot.guid, HOLD_TAG)
        return NOTHING

    def _ensure_snapshot(self, effect: effects.EnsureSnapshot) -> Facts:
        volume = needed_volume(self._pools, effect.volume)
        if effect.guid is not None:
            check_identity(effect.volume, volume, effect.guid)
        self._pools.ensure_snapshot(effect.volume, volume.guid, effect.name, AUTOMATIC_PROPERTY)
        return Facts(volume_guid=volume.guid)

    # --- received from a host

    def _verify_received(self, effect: effects.VerifyReceived) -> Facts:
        history = self._pools.read_history(effect.volume)
        if not ends_at(history, effect.guid):
            raise IncoherentError(
                f"the newest snapshot of {effect.volume} is {history.newest.guid if history.newest else 'none'}, "
                f"but the host has sent {effect.guid}; the copy on the host is preserved"
            )
        return Facts(guid=effect.guid)

    def _ensure_partial_gone(self, effect: effects.EnsurePartialGone) -> Facts:
        self._pools.ensure_partial_gone(effect.volume)
        if effect.base_guid is not None:
            self._ensure_pull_gone(effect.volume, effect.base_guid)
        return NOTHING

    def _ensure_pull_gone(self, name: str, base_guid: str) -> None:
        volume, history = needed_volume(self._pools, name), self._pools.read_history(name)
        base = history.of_guid(base_guid)
        if base is None or standing_grant(volume).base_guid != base_guid:
            return  # the record is older than the volume: what came later was confirmed
        later = [one for one in history.snapshots if one.createtxg > base.createtxg]
        if later and not any(has_automatic_name(one.name) for one in later):
            return  # somebody's snapshots of the base's content
        foreign = [one for one in later if not has_automatic_name(one.name) or one.clones or holders(one)]
        if foreign:
            raise StateError(
                f"{name}@{foreign[0].name} has changes of a pull that are to be discarded, but it, a clone or a hold "
                "is not of image storage: remove that by `zfs` on the NAS, or keep the changes: rocks set host "
                f"zvolattr NAS {name.rpartition('/')[2]} persistent yes"
            )
        for one in later:
            self._pools.ensure_released(name, one.name, one.guid, HOLD_TAG)
            self._pools.ensure_snapshot_gone(name, one.name, one.guid)
        self._pools.ensure_rolled_back(name, volume.guid, base.name, base_guid)
