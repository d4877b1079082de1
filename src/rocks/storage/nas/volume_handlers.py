"""The handlers of effects on the volumes of a NAS: made, granted, restored, grown, destroyed."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Type

from rocks.core.errors import IncoherentError, StateError
from rocks.core.units import size_text
from rocks.storage.life import effects
from rocks.storage.life.effects import Grant
from rocks.storage.life.facts import NOTHING, Facts
from rocks.storage.life.grants import grant_properties, read_grant, why_not_destroyed, why_refused
from rocks.storage.life.names import HOLD_TAG
from rocks.storage.life.space import nas_shortage
from rocks.storage.limits import BLOCK_BYTES
from rocks.storage.wire.names import read_tag
from rocks.storage.zfs.facts import OUR_PREFIX, PoolFact, SnapshotFact, VolumeFact
from rocks.storage.zfs.pool import PoolDriver

NAS_POOL = f"{OUR_PREFIX}nas_pool"
"""Which pool of the NAS the image is in, with its grant: a replica of the pool names it too."""


class VolumeHandlers:
    """The handlers of effects on volumes."""

    def __init__(self, pools: PoolDriver) -> None:
        self._pools = pools
        self.handlers: Dict[Type[object], Callable[..., Facts]] = {
            effects.EnsureVolume: self._ensure_volume,
            effects.EnsureGrant: self._ensure_grant,
            effects.ReadObstacles: self._read_obstacles,
            effects.EnsureVolumeGone: self._ensure_volume_gone,
            effects.EnsureClone: self._ensure_clone,
            effects.EnsureRestored: self._ensure_restored,
            effects.EnsureSize: self._ensure_size,
        }

    def _ensure_volume(self, effect: effects.EnsureVolume) -> Facts:
        found = self._pools.read_volume(effect.volume)
        pool = self._pools.read_pool(effect.volume.partition("/")[0])
        if effect.guid is not None:
            check_identity(effect.volume, found, effect.guid)
        if found is None:
            if effect.size_bytes <= 0:
                raise StateError(
                    f"the volume {effect.volume} does not exist and the request has no size for a new one"
                )
            # before there is a volume that no host gets
            check_space(f"the volume {effect.volume} is not made", pool, effect.size_bytes)
            self._pools.ensure_volume(effect.volume, effect.size_bytes, BLOCK_BYTES)
        volume = needed_volume(self._pools, effect.volume)
        return Facts(
            size_bytes=volume.size_bytes,
            volume_guid=volume.guid,
            free_bytes=pool.free_bytes,
            pool_bytes=pool.size_bytes,
        )

    def _ensure_grant(self, effect: effects.EnsureGrant) -> Facts:
        found = self._pools.read_volume(effect.volume)
        if is_not_ours(found, effect.only_on) or (found is None and effect.owner is None):
            return NOTHING
        volume = needed_volume(self._pools, effect.volume)
        reason = why_refused(effect, standing_grant(volume))
        if reason is not None:
            raise IncoherentError(f"{effect.volume}: {reason}")
        named = {f"{OUR_PREFIX}{key}": value for key, value in grant_properties(effect).items()}
        named[NAS_POOL] = effect.volume.partition("/")[0]
        self._pools.ensure_properties(effect.volume, volume.guid, named)
        return NOTHING

    # --- deletion and restore

    def _read_obstacles(self, effect: effects.ReadObstacles) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return Facts(obstacles=())
        obstacles = []
        for snapshot in self._pools.read_history(effect.volume).snapshots:
            obstacles += [f"{clone} is a clone of {snapshot.name}" for clone in snapshot.clones]
            obstacles += holders(snapshot)
        return Facts(obstacles=tuple(obstacles), volume_guid=volume.guid)

    def _ensure_volume_gone(self, effect: effects.EnsureVolumeGone) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return NOTHING
        if volume.guid != effect.guid:
            raise IncoherentError(
                f"{effect.volume} is a new volume since its destruction was requested; it is not destroyed"
            )
        reason = why_not_destroyed(effect, standing_grant(volume))
        if reason is not None:
            raise IncoherentError(f"{effect.volume} is not destroyed: {reason}")
        snapshots = self._pools.read_history(effect.volume).snapshots
        for snapshot in snapshots:
            self._pools.ensure_released(effect.volume, snapshot.name, snapshot.guid, HOLD_TAG)
        named = [(snapshot.name, snapshot.guid) for snapshot in snapshots]
        self._pools.ensure_volume_gone(effect.volume, effect.guid, named, may_lose_bytes=None)
        return NOTHING

    def _ensure_clone(self, effect: effects.EnsureClone) -> Facts:
        snapshot = f"{effect.volume}@{effect.snapshot}"
        self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
        return NOTHING

    def _ensure_restored(self, effect: effects.EnsureRestored) -> Facts:
        former = self._pools.read_volume(effect.former)
        if former is None:
            check_identity(effect.volume, self._pools.read_volume(effect.volume), effect.original_guid)
            self._promote(effect)
            self._pools.ensure_renamed(effect.volume, effect.original_guid, effect.former)
        else:
            check_identity(effect.former, former, effect.original_guid)
        clone = self._pools.read_volume(effect.beside)
        if clone is not None:
            self._require_restored(effect, effect.beside)
            self._pools.ensure_renamed(effect.beside, clone.guid, effect.volume)
        self._require_restored(effect, effect.volume)
        return Facts(volume_guid=needed_volume(self._pools, effect.volume).guid)

    def _promote(self, effect: effects.EnsureRestored) -> None:
        """Move the snapshot from the volume to its clone."""
        if self._pools.read_history(effect.beside).of_guid(effect.guid) is None:
            snapshot = f"{effect.volume}@{effect.snapshot}"
            self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
            self._pools.ensure_promoted(effect.beside, needed_volume(self._pools, effect.beside).guid)

    def _require_restored(self, effect: effects.EnsureRestored, name: str) -> None:
        if self._pools.read_history(name).of_guid(effect.guid) is None:
            raise IncoherentError(
                f"{name} has no snapshot of guid {effect.guid}, which is being restored; the former volume is "
                f"{effect.former}"
            )

    # --- growth

    def _ensure_size(self, effect: effects.EnsureSize) -> Facts:
        volume = needed_volume(self._pools, effect.volume)
        if effect.guid is not None:
            check_identity(effect.volume, volume, effect.guid)
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


def holders(snapshot: SnapshotFact) -> List[str]:
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


def is_not_ours(found: Optional[VolumeFact], only_on: Optional[str]) -> bool:
    return only_on is not None and (found is None or found.guid != only_on)


def check_identity(name: str, found: Optional[VolumeFact], guid: str) -> None:
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
