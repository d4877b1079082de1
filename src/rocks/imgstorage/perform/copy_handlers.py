"""The deeds of a host on its copy of an image, which is a ZFS volume; no device of a guest is touched here."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Type

from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import SnapshotFact, VolumeFact
from rocks.errors import IncoherentError, StateError
from rocks.imgstorage.model import host_effects as steps
from rocks.imgstorage.model import names
from rocks.imgstorage.model.facts import NOTHING, CopyFact, Facts
from rocks.imgstorage.model.space import reserve_bytes, temp_write_bytes
from rocks.imgstorage.perform.access import Access, Transfers
from rocks.imgstorage.perform.kept_copies import PROPERTY_PREFIX, make_room, spare_bytes

_AUTOMATIC = {f"{PROPERTY_PREFIX}auto": "on"}
_TEMP_WRITE_BLOCK_BYTES = 8192
"""As large as device-mapper's chunk, so that none is read to write another."""

Operation = Callable[..., Facts]


class CopyHandlers:
    """What a host does to volumes. `host` is its name in the cluster.

    `is_idle` tells of a volume's name that nobody is at it, so that its copy may go for another's sake.
    """

    def __init__(
        self,
        pools: PoolDriver,
        transfers: Transfers,
        host: str,
        is_idle: Callable[[str], bool] = lambda zvol: False,
    ) -> None:
        self._is_idle = is_idle
        self._pools = pools
        self._transfers = transfers
        self._host = host
        self.operations: Dict[Type[object], Operation] = {
            steps.ReadCopy: self._read_copy,
            steps.EnsureSetAside: self._ensure_set_aside,
            steps.EnsureTempWrite: self._ensure_temp_write,
            steps.EnsureTempWriteGone: self._ensure_temp_write_gone,
            steps.EnsureSeedPlace: self._ensure_seed_place,
            steps.ReceiveSeed: self._receive_seed,
            steps.EnsureSeedNamed: self._ensure_seed_named,
            steps.EnsureSeedSettled: self._ensure_seed_settled,
            steps.RequireCopyAt: self._require_copy_at,
            steps.MarkCopy: self._mark_copy,
            steps.SnapshotCopy: self._snapshot_copy,
            steps.SendSnapshot: self._send_snapshot,
            steps.AdvanceBase: self._advance_base,
            steps.RollBack: self._roll_back,
        }

    def _read_copy(self, effect: steps.ReadCopy, access: Access) -> Facts:
        known = access.known
        if effect.pool is None:
            return Facts(copy=CopyFact(known.stage, known.epoch))
        pool = self._pools.read_pool(effect.pool)
        volume = self._pools.read_volume(_volume(effect))
        newest = None if volume is None else self._pools.read_history(volume.name).newest
        written = 0
        if volume is not None:
            written = volume.written_bytes
            if newest is not None:
                written = self._pools.written_since(volume.name, newest.name, newest.guid)
        temp_write = self._pools.read_volume(names.temp_write_volume(effect.pool, effect.zvol))
        copy = CopyFact(
            stage=known.stage,
            epoch=known.epoch,
            exists=volume is not None,
            guid=None if newest is None else newest.guid,
            written_bytes=written,
            size_bytes=0 if volume is None else volume.size_bytes,
            has_temp_write=temp_write is not None,
            free_bytes=pool.free_bytes + spare_bytes(self._pools, effect.pool, access.spare),
            pool_bytes=pool.size_bytes,
        )
        return Facts(copy=copy)

    # --- what an earlier epoch left, and the temp-write volume

    def _ensure_set_aside(self, effect: steps.EnsureSetAside, access: Access) -> Facts:
        epoch = access.known.epoch
        self._settle_seed(effect.zvol, effect.pool)
        for name in (_volume(effect), names.temp_write_volume(effect.pool, effect.zvol)):
            volume = self._pools.read_volume(name)
            if volume is not None:
                self._pools.ensure_renamed(name, volume.guid, self._free_aside(name, epoch))
        return NOTHING

    def _free_aside(self, name: str, epoch: int) -> str:
        """A host that has lost its record may have set aside under this epoch before."""
        first = aside = names.aside_volume(name, epoch)
        number = 2
        while self._pools.read_volume(aside) is not None:
            aside, number = f"{first}-{number}", number + 1
        return aside

    def _ensure_temp_write(self, effect: steps.EnsureTempWrite, access: Access) -> Facts:
        name = names.temp_write_volume(effect.pool, effect.zvol)
        if self._pools.read_volume(name) is None:
            # once: what is reserved then is no longer free
            make_room(self._pools, effect.pool, effect.room_bytes, access.spare, self._is_idle)
        self._pools.ensure_volume(
            name,
            temp_write_bytes(effect.size_bytes),
            _TEMP_WRITE_BLOCK_BYTES,
            # device-mapper takes a pool without room for a full device; it must not come to that
            reserve_bytes(effect.size_bytes),
        )
        return NOTHING

    def _ensure_temp_write_gone(self, effect: steps.EnsureTempWriteGone, access: Access) -> Facts:
        del access
        name = names.temp_write_volume(effect.pool, effect.zvol)
        volume = self._pools.read_volume(name)
        if volume is not None:
            self._pools.ensure_volume_gone(name, volume.guid, may_lose_bytes=None)
        return NOTHING

    # --- the seed

    def _ensure_seed_place(self, effect: steps.EnsureSeedPlace, access: Access) -> Facts:
        del access
        copy, seed = self._pools.read_volume(_volume(effect)), self._pools.read_volume(_seed(effect))
        if copy is None or self._has_newest(copy.name, effect.base_guid):
            return NOTHING
        if seed is not None:
            raise IncoherentError(
                f"{copy.name} and {seed.name} both hold a copy of {effect.zvol}; `zfs list -t all` shows what they are"
            )
        self._pools.ensure_renamed(copy.name, copy.guid, _seed(effect))
        return NOTHING

    def _receive_seed(self, effect: steps.ReceiveSeed, access: Access) -> Facts:
        if not self._has_newest(_volume(effect), effect.base_guid) and not self._has_newest(
            _seed(effect), effect.base_guid
        ):
            self._transfers.receive(access, _seed(effect), effect.base_guid)
        return NOTHING

    def _ensure_seed_named(self, effect: steps.EnsureSeedNamed, access: Access) -> Facts:
        name = _volume(effect)
        if self._pools.read_volume(name) is None:
            self._require_newest(_seed(effect), effect.base_guid)
            self._pools.ensure_renamed(_seed(effect), self._fact(_seed(effect)).guid, name)
        newest = self._require_newest(name, effect.base_guid)
        self._pools.ensure_hold(name, newest.name, newest.guid, names.HOLD_TAG)
        self._write_mark(name, "clean", newest.guid, access)
        return Facts(guid=newest.guid)

    def _ensure_seed_settled(self, effect: steps.EnsureSeedSettled, access: Access) -> Facts:
        del access
        self._settle_seed(effect.zvol, effect.pool)
        return NOTHING

    def _settle_seed(self, zvol: str, pool: str) -> None:
        """A whole copy that had been renamed to be completed gets its name again; half a first one goes."""
        name = names.seed_volume(pool, zvol)
        if self._pools.read_volume(name) is None:
            return
        self._pools.ensure_partial_gone(name)
        whole = self._pools.read_volume(name)
        if whole is not None:
            self._pools.ensure_renamed(name, whole.guid, f"{pool}/{zvol}")

    # --- changes on their way home

    def _require_copy_at(self, effect: steps.RequireCopyAt, access: Access) -> Facts:
        del access
        newest = self._require_newest(_volume(effect), effect.guid)
        written = self._pools.written_since(_volume(effect), newest.name, newest.guid)
        if written:
            raise IncoherentError(
                f"{_volume(effect)} has {written} bytes written since {newest.name}, which the NAS does not have"
            )
        return Facts(guid=newest.guid)

    def _mark_copy(self, effect: steps.MarkCopy, access: Access) -> Facts:
        guid = effect.guid or self._newest(_volume(effect)).guid
        self._write_mark(_volume(effect), effect.kind, guid, access)
        return NOTHING

    def _snapshot_copy(self, effect: steps.SnapshotCopy, access: Access) -> Facts:
        del access
        volume = self._fact(_volume(effect))
        taken = self._pools.ensure_snapshot(volume.name, volume.guid, effect.name, _AUTOMATIC)
        self._pools.ensure_hold(volume.name, taken.name, taken.guid, names.HOLD_TAG)
        return Facts(guid=taken.guid)

    def _send_snapshot(self, effect: steps.SendSnapshot, access: Access) -> Facts:
        return Facts(guid=self._transfers.send(access, _volume(effect), effect.name))

    def _advance_base(self, effect: steps.AdvanceBase, access: Access) -> Facts:
        """New protection is there before old is dropped: cursor and hold first, then what they replace."""
        name = _volume(effect)
        history = self._pools.read_history(name)
        base = history.snapshot(effect.name)
        if base is None:
            raise StateError(f"{name} has no snapshot {effect.name}, which was to become its base")
        cursor = names.cursor_bookmark(base.guid, self._host)
        self._pools.ensure_hold(name, base.name, base.guid, names.HOLD_TAG)
        self._pools.ensure_bookmark(name, base.name, base.guid, cursor)
        for bookmark in history.bookmarks:
            if bookmark.name.startswith("imgstore_CURSOR_G_") and bookmark.name != cursor:
                self._pools.ensure_bookmark_gone(name, bookmark.name, bookmark.guid)
        for older in history.snapshots:
            if older.createtxg < base.createtxg:
                self._drop_automatic(name, older)
        self._write_mark(name, "dirty", base.guid, access)
        return Facts(guid=base.guid)

    def _drop_automatic(self, name: str, snapshot: SnapshotFact) -> None:
        self._pools.ensure_released(name, snapshot.name, snapshot.guid, names.HOLD_TAG)
        others = [tag for tag in snapshot.holds if tag != names.HOLD_TAG]
        # by its name as well: a stream does not carry the property that marks those that were made by us
        is_ours = snapshot.is_automatic or names.parse_snapshot_name(snapshot.name) is not None
        if is_ours and not others and not snapshot.clones:
            self._pools.ensure_snapshot_gone(name, snapshot.name, snapshot.guid)

    def _roll_back(self, effect: steps.RollBack, access: Access) -> Facts:
        del access
        newest = self._require_newest(_volume(effect), effect.guid)
        self._pools.ensure_rolled_back(
            _volume(effect), self._fact(_volume(effect)).guid, newest.name, newest.guid
        )
        return Facts(guid=newest.guid)

    # --- helpers

    def _write_mark(self, name: str, kind: str, guid: str, access: Access) -> None:
        values = {"copy": kind, "base_guid": guid, "epoch": str(access.epoch)}
        # by these a host that has lost its records knows whose it is
        values.update(id=access.image_id, nas=access.nas, volume=access.volume)
        named = {f"{PROPERTY_PREFIX}{key}": value for key, value in values.items()}
        self._pools.ensure_properties(name, self._fact(name).guid, named)

    def _fact(self, name: str) -> VolumeFact:
        volume = self._pools.read_volume(name)
        if volume is None:
            raise StateError(f"{self._host} has no volume {name}")
        return volume

    def _newest(self, name: str) -> SnapshotFact:
        newest = self._pools.read_history(name).newest
        if newest is None:
            raise IncoherentError(f"{name} has no snapshot, and must have one that the NAS knows")
        return newest

    def _has_newest(self, name: str, guid: str) -> bool:
        newest: Optional[SnapshotFact] = self._pools.read_history(name).newest
        return newest is not None and newest.guid == guid

    def _require_newest(self, name: str, guid: str) -> SnapshotFact:
        newest = self._newest(name)
        if newest.guid != guid:
            raise IncoherentError(
                f"the newest snapshot of {name} is {newest.name} ({newest.guid}), not the one of {guid}"
            )
        return newest


def _volume(effect: steps.HostEffect) -> str:
    return f"{effect.pool}/{effect.zvol}"  # type: ignore[union-attr] # of the effects above, all have both


def _seed(effect: steps.HostEffect) -> str:
    return names.seed_volume(effect.pool, effect.zvol)  # type: ignore[union-attr,arg-type] # as above
