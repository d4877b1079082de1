"""The handlers of a NAS: each effect performed with ZFS and LIO. Repeating one changes nothing."""

from __future__ import annotations

import logging
from typing import Callable, Dict, List, Optional, Tuple, Type

from rocks.core.clock import Deadline
from rocks.core.errors import BugError, IncoherentError, RocksError, StateError
from rocks.core.units import size_text
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import Portal
from rocks.storage.iscsi_target.exports import ExportFact, ExportSpec
from rocks.storage.iscsi_target.targets import Targets
from rocks.storage.life import effects
from rocks.storage.life.effects import Grant
from rocks.storage.life.facts import NOTHING, Facts, HistoryPoint
from rocks.storage.life.grants import grant_properties, read_grant, why_refused
from rocks.storage.life.names import HOLD_TAG, has_automatic_name, is_earlier_target
from rocks.storage.life.space import nas_shortage
from rocks.storage.limits import BLOCK_BYTES, DEVICE_SECONDS
from rocks.storage.nas.held_snapshots import ends_at, present_snapshot
from rocks.storage.wire.hold_tags import read_tag
from rocks.storage.zfs.driver import PoolDriver
from rocks.storage.zfs.facts import History, PoolFact, SendSpec, SnapshotFact, VolumeFact
from rocks.storage.zfs.names import AUTOMATIC_PROPERTY, OUR_PREFIX

_log = logging.getLogger(__name__)

_DEVICES = "/dev/zvol/"


SecretsOf = Callable[[str], Optional[ChapSecrets]]
"""The secrets of a target's present export."""


class NasHandlers:
    """Performs every effect except AskHost and those between two NASes."""

    def __init__(self, pools: PoolDriver, targets: Targets, portal: Portal, secrets_of: SecretsOf) -> None:
        self._pools = pools
        self._targets = targets
        self._portal = portal
        self._secrets_of = secrets_of
        self._handlers: Dict[Type[object], Callable[..., Facts]] = {
            effects.EnsureVolume: self._ensure_volume,
            effects.EnsureGrant: self._ensure_grant,
            effects.EnsureBase: self._ensure_base,
            effects.EnsureOnlyHold: self._ensure_only_hold,
            effects.EnsureExport: self._ensure_export,
            effects.EnsureExportGone: self._ensure_export_gone,
            effects.VerifyReceived: self._verify_received,
            effects.ReadHistory: self._read_history,
            effects.EnsurePartialGone: self._ensure_partial_gone,
            effects.ReadObstacles: self._read_obstacles,
            effects.EnsureVolumeGone: self._ensure_volume_gone,
            effects.EnsureSnapshot: self._ensure_snapshot,
            effects.EnsureClone: self._ensure_clone,
            effects.EnsureRestored: self._ensure_restored,
            effects.EnsureSize: self._ensure_size,
        }

    def do(self, effect: effects.Effect) -> Facts:
        """Perform one effect and return its facts. RocksError when it fails."""
        handler = self._handlers.get(type(effect))
        if handler is None:
            raise BugError(f"the NAS has no handler for {type(effect).__name__}; please report this")
        return handler(effect)

    # --- the volume

    def _ensure_volume(self, effect: effects.EnsureVolume) -> Facts:
        found = self._pools.read_volume(effect.volume)
        pool = self._pools.read_pool(effect.volume.partition("/")[0])
        if effect.guid is not None:
            _check_identity(effect.volume, found, effect.guid)
        if found is None:
            if effect.size_bytes <= 0:
                raise StateError(
                    f"the volume {effect.volume} does not exist and the request has no size for a new one"
                )
            # before there is a volume that no host gets
            check_space(f"the volume {effect.volume} is not made", pool, effect.size_bytes)
            self._pools.ensure_volume(effect.volume, effect.size_bytes, BLOCK_BYTES)
        volume = self._volume(effect.volume)
        return Facts(
            size_bytes=volume.size_bytes,
            volume_guid=volume.guid,
            free_bytes=pool.free_bytes,
            pool_bytes=pool.size_bytes,
        )

    def _ensure_grant(self, effect: effects.EnsureGrant) -> Facts:
        found = self._pools.read_volume(effect.volume)
        if _is_not_ours(found, effect.only_on) or (found is None and effect.owner is None):
            return NOTHING
        volume = self._volume(effect.volume)
        reason = why_refused(effect, standing_grant(volume))
        if reason is not None:
            raise IncoherentError(f"{effect.volume}: {reason}")
        named = {f"{OUR_PREFIX}{key}": value for key, value in grant_properties(effect).items()}
        self._pools.ensure_properties(effect.volume, volume.guid, named)
        return NOTHING

    def _ensure_base(self, effect: effects.EnsureBase) -> Facts:
        volume = self._volume(effect.volume)
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
        if _is_not_ours(self._pools.read_volume(effect.volume), effect.only_on):
            return NOTHING
        if effect.name is not None and effect.guid is not None:
            self._pools.ensure_hold(effect.volume, effect.name, effect.guid, HOLD_TAG)
        for snapshot in self._pools.read_history(effect.volume).snapshots:
            if HOLD_TAG in snapshot.holds and snapshot.guid != effect.guid:
                self._pools.ensure_released(effect.volume, snapshot.name, snapshot.guid, HOLD_TAG)
        return NOTHING

    # --- the export

    def _ensure_export(self, effect: effects.EnsureExport) -> Facts:
        name = effect.volume
        if effect.snapshot is not None:
            self._pools.ensure_snapshots_visible(effect.volume, self._volume(effect.volume).guid)
            name = f"{effect.volume}@{effect.snapshot}"
        else:
            # a NAS that loses power must not lose acknowledged writes: the guest runs on
            self._pools.ensure_synchronous(effect.volume, self._volume(effect.volume).guid)
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

    # --- received snapshots

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
        volume, history = self._volume(name), self._pools.read_history(name)
        base = _find(history, base_guid)
        if base is None or standing_grant(volume).base_guid != base_guid:
            return  # the record is older than the volume: what came later was confirmed
        later = [one for one in history.snapshots if one.createtxg > base.createtxg]
        if later and not any(has_automatic_name(one.name) for one in later):
            return  # somebody's snapshots of the base's content
        foreign = [one for one in later if not has_automatic_name(one.name) or one.clones or _holders(one)]
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

    # --- deletion and restore

    def _read_obstacles(self, effect: effects.ReadObstacles) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return Facts(obstacles=())
        obstacles = []
        for snapshot in self._pools.read_history(effect.volume).snapshots:
            obstacles += [f"{clone} is a clone of {snapshot.name}" for clone in snapshot.clones]
            obstacles += _holders(snapshot)
        return Facts(obstacles=tuple(obstacles), volume_guid=volume.guid)

    def _ensure_volume_gone(self, effect: effects.EnsureVolumeGone) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return NOTHING
        if volume.guid != effect.guid:
            raise IncoherentError(
                f"{effect.volume} is a new volume since its destruction was requested; it is not destroyed"
            )
        snapshots = self._pools.read_history(effect.volume).snapshots
        for snapshot in snapshots:
            self._pools.ensure_released(effect.volume, snapshot.name, snapshot.guid, HOLD_TAG)
        named = [(snapshot.name, snapshot.guid) for snapshot in snapshots]
        self._pools.ensure_volume_gone(effect.volume, effect.guid, named, may_lose_bytes=None)
        return NOTHING

    def _ensure_snapshot(self, effect: effects.EnsureSnapshot) -> Facts:
        volume = self._volume(effect.volume)
        if effect.guid is not None:
            _check_identity(effect.volume, volume, effect.guid)
        self._pools.ensure_snapshot(effect.volume, volume.guid, effect.name, AUTOMATIC_PROPERTY)
        return Facts(volume_guid=volume.guid)

    def _ensure_clone(self, effect: effects.EnsureClone) -> Facts:
        snapshot = f"{effect.volume}@{effect.snapshot}"
        self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
        return NOTHING

    def _ensure_restored(self, effect: effects.EnsureRestored) -> Facts:
        former = self._pools.read_volume(effect.former)
        if former is None:
            _check_identity(effect.volume, self._pools.read_volume(effect.volume), effect.original_guid)
            self._promote(effect)
            self._pools.ensure_renamed(effect.volume, effect.original_guid, effect.former)
        else:
            _check_identity(effect.former, former, effect.original_guid)
        clone = self._pools.read_volume(effect.beside)
        if clone is not None:
            self._require_restored(effect, effect.beside)
            self._pools.ensure_renamed(effect.beside, clone.guid, effect.volume)
        self._require_restored(effect, effect.volume)
        return Facts(volume_guid=self._volume(effect.volume).guid)

    def _promote(self, effect: effects.EnsureRestored) -> None:
        """Move the snapshot from the volume to its clone."""
        if _find(self._pools.read_history(effect.beside), effect.guid) is None:
            snapshot = f"{effect.volume}@{effect.snapshot}"
            self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
            self._pools.ensure_promoted(effect.beside, self._volume(effect.beside).guid)

    def _require_restored(self, effect: effects.EnsureRestored, name: str) -> None:
        if _find(self._pools.read_history(name), effect.guid) is None:
            raise IncoherentError(
                f"{name} has no snapshot of guid {effect.guid}, which is being restored; the former volume is "
                f"{effect.former}"
            )

    # --- growth

    def _ensure_size(self, effect: effects.EnsureSize) -> Facts:
        volume = self._volume(effect.volume)
        if effect.guid is not None:
            _check_identity(effect.volume, volume, effect.guid)
        owner = standing_grant(volume).owner
        if owner is not None:  # the record was restored from an older copy, and is not compared yet
            raise IncoherentError(
                f"the volume {effect.volume} does not grow: it says that {owner} has it, and the NAS's records that no "
                "host has; rocks list host storagemap shows the image as blocked as soon as they are compared"
            )
        size_bytes = -(-effect.size_bytes // volume.block_bytes) * volume.block_bytes
        if volume.size_bytes > size_bytes:
            raise StateError(
                f"the volume {effect.volume} has {size_text(volume.size_bytes)}, more than {size_text(size_bytes)}, "
                "and does not shrink"
            )
        if volume.size_bytes < size_bytes:
            pool = self._pools.read_pool(effect.volume.partition("/")[0])
            check_space(f"the volume {effect.volume} does not grow", pool, size_bytes)
            self._pools.ensure_size(effect.volume, volume.guid, size_bytes)
        return Facts(size_bytes=size_bytes, volume_guid=volume.guid)

    def _volume(self, name: str) -> VolumeFact:
        return needed_volume(self._pools, name)


def needed_volume(pools: PoolDriver, name: str) -> VolumeFact:
    """The volume. StateError when it does not exist."""
    volume = pools.read_volume(name)
    if volume is None:
        raise StateError(
            f"the volume {name} does not exist; `zfs list -t volume` on the NAS lists the volumes"
        )
    return volume


def check_space(outcome: str, pool: PoolFact, size_bytes: int) -> None:
    """StateError, which begins with the outcome, when the pool has no space for the changes of such a volume."""
    shortage = nas_shortage(pool.free_bytes, pool.size_bytes, size_bytes)
    if shortage is not None:
        raise StateError(f"{outcome}: {shortage}")


def standing_grant(volume: VolumeFact) -> Grant:
    """The grant in a volume's properties."""
    cut = len(OUR_PREFIX)
    return read_grant({key[cut:]: value for key, value in volume.properties if key.startswith(OUR_PREFIX)})


def _holders(snapshot: SnapshotFact) -> List[str]:
    """Who holds the snapshot, other than the image storage itself."""
    held = {hold: read_tag(hold) for hold in snapshot.holds if hold != HOLD_TAG}
    names = dict.fromkeys(tag.snapshot for tag in held.values() if tag is not None)
    return [
        *(
            f'it is part of the snapshot "{name}" of its machine: rocks remove host vm snapshot MACHINE "{name}"'
            for name in names
        ),
        *(f"{snapshot.name} is held by {hold}" for hold, tag in held.items() if tag is None),
    ]


def _find(history: History, guid: str) -> Optional[SnapshotFact]:
    return next((snapshot for snapshot in history.snapshots if snapshot.guid == guid), None)


def _is_not_ours(found: Optional[VolumeFact], only_on: Optional[str]) -> bool:
    return only_on is not None and (found is None or found.guid != only_on)


def _check_identity(name: str, found: Optional[VolumeFact], guid: str) -> None:
    """StateError without the volume of an image in use, IncoherentError when another has its name."""
    if found is None:
        raise StateError(
            f"the volume {name} (guid {guid}) does not exist, and no empty one replaces it. Find it on the NAS "
            "by `zfs list -t volume -o name,guid` and restore its name by `zfs rename`; if it is lost, run "
            "`rocks remove host storageimg`"
        )
    if found.guid != guid:
        raise IncoherentError(
            f"{name} has the guid {found.guid}, but the image's volume has {guid}: another volume has its name; "
            "restore the names by `zfs rename` on the NAS"
        )
