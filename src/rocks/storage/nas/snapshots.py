"""Snapshots of volumes: those of machines and of other programs, effects on them, and expired automatic ones."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, FrozenSet, Mapping, Optional, Tuple, Type

from rocks.core.errors import IncoherentError, RocksError, StateError, UserError
from rocks.core.periodic import PeriodicThread
from rocks.fleet.wire.codec import encode
from rocks.storage.image import effects
from rocks.storage.image.image import NOTHING, Facts, HistoryPoint, Image
from rocks.storage.image.names import HOLD_TAG, has_automatic_name
from rocks.storage.image.rejections import check_machine
from rocks.storage.image.states import LOCAL, PULLING, UNMAPPED
from rocks.storage.image.transfers import Snapshot, expired
from rocks.storage.nas.engine import Engine
from rocks.storage.nas.volumes import check_identity, holders, is_not_ours, needed_volume, standing_grant
from rocks.storage.wire.names import read_tag
from rocks.storage.wire.replies import HeldRow
from rocks.storage.wire.requests import HoldSnapshot, ReleaseSnapshot
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, History, SendSpec, SnapshotFact
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)


def ends_at(history: History, guid: str) -> bool:
    """Whether the snapshot of this guid is the newest, but for later ones of a program that copies the pool."""
    for snapshot in reversed(history.snapshots):
        if snapshot.guid == guid:
            return True
        if has_automatic_name(snapshot.name):
            break
    return False


def present_snapshot(pools: PoolDriver, volume: str, history: History) -> Optional[SnapshotFact]:
    """The newest snapshot, where it equals the volume; None for one of a program that copies the pool, which goes."""
    newest = history.newest
    if newest is None or not has_automatic_name(newest.name):
        return None
    return None if pools.written_since(volume, newest.name, newest.guid) else newest


class HeldSnapshots:
    """Holds and releases them."""

    def __init__(
        self,
        pools: PoolDriver,
        find: Callable[[str, str], Image],
        present: Callable[[str, str], SnapshotFact],
    ) -> None:
        """`find` returns an image by its pool, which may be empty, and its name.

        `present` makes the snapshot of the present content of an unmapped image, by the same.
        """
        self._pools = pools
        self._find = find
        self._present = present

    def hold(self, request: HoldSnapshot) -> Mapping[str, Any]:
        """Hold a snapshot; its name and guid. StateError when the image is not as the request says."""
        if not request.tags or any(read_tag(tag) is None for tag in request.tags):
            raise UserError("the request has no tags of a snapshot of a machine; please report this")
        image = self._find(request.zpool, request.zvol)
        check_machine(image, request.machine)
        one = self._chosen(image, request)
        for tag in request.tags:
            self._pools.ensure_hold(image.volume, one.name, one.guid, tag)
        _log.info("%s@%s is held: %s", image.volume, one.name, ", ".join(request.tags))
        return dict(encode(HeldRow(one.name, one.guid)))

    def _chosen(self, image: Image, request: HoldSnapshot) -> SnapshotFact:
        """The snapshot that is meant. A request that is repeated means the same one, whatever has come since."""
        present = self._pools.read_history(image.volume).snapshots if self._exists(image) else ()
        for one in present:
            is_named = one.guid == request.guid if request.guid else request.tags[0] in one.holds
            if is_named:
                return one
        is_at_rest = image.owner is None and image.state == UNMAPPED
        if not request.guid and not request.is_mapped and is_at_rest:
            return self._present(image.pool, image.zvol)
        if not request.guid and request.is_mapped and image.state in (LOCAL, PULLING):
            # the last one that was verified; a later one may be on its way
            for one in present:
                if one.guid == image.base_guid:
                    return one
        where = image.state if image.owner is None else f"{image.state} on {image.owner}"
        raise StateError(
            f"ZVol {image.zvol} is {where}, and gets no snapshot now; `rocks list host storagemap` shows its state"
        )

    def _exists(self, image: Image) -> bool:
        volume = self._pools.read_volume(image.volume)
        return volume is not None and image.volume_guid in (None, volume.guid)

    def release(self, request: ReleaseSnapshot) -> Mapping[str, Any]:
        """Release the holds of a snapshot of a machine: retention may destroy the snapshots then."""
        image = self._find(request.zpool, request.zvol)
        check_machine(image, request.machine)
        self._release(image, request.snapshot, request.is_unfinished)
        return {"zvol": image.zvol}

    def release_for_destruction(self, image: Image) -> None:
        """Release all of an image that is to be destroyed by force, and that nothing else keeps."""
        if image.owner is not None or image.state != UNMAPPED or not self._exists(image):
            return
        for one in self._pools.read_history(image.volume).snapshots:
            if one.clones or any(hold != HOLD_TAG and read_tag(hold) is None for hold in one.holds):
                return
        self._release(image, "", False)

    def _release(self, image: Image, snapshot: str, only_unfinished: bool) -> None:
        if not self._exists(image):
            return
        for one in self._pools.read_history(image.volume).snapshots:
            tags = [(tag, hold) for hold in one.holds if (tag := read_tag(hold)) is not None]
            # what marks it as unfinished goes last: what is released in part can be released again
            for tag, hold in sorted(tags, key=lambda pair: pair[0].is_unfinished):
                if snapshot in ("", tag.snapshot) and (tag.is_unfinished or not only_unfinished):
                    self._pools.ensure_released(image.volume, one.name, one.guid, hold)


# --- effects on snapshots: the base of a host's copy, its hold, and what was received from a host --------------------


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


# --- expired automatic snapshots are destroyed; one thread -----------------------------------------------------------


_ROUND_SECONDS = 60.0
_QUIET_STATES = (UNMAPPED, LOCAL, PULLING)

_Seen = Tuple[Optional[str], int]


class SnapshotExpiry(PeriodicThread):
    """Checks an image's snapshots when it has a new base, and once an hour, since retention counts hours and days."""

    def __init__(self, engine: Engine, pools: PoolDriver, each_round: Callable[[], None]) -> None:
        """`each_round` is called once a minute too."""
        super().__init__("snapshot-expiry", _ROUND_SECONDS, self.look, "expired snapshots were not sought")
        self._each_round = each_round
        self._engine = engine
        self._pools = pools
        self._seen: Dict[str, _Seen] = {}
        self._failures: Dict[str, str] = {}
        """Image → why its snapshots stay, as it was logged."""
        self._rounds = 0

    def look(self) -> None:
        """One round."""
        self._rounds += 1
        try:
            self._each_round()
        except Exception:  # noqa: BLE001 - it must not end the thread of all
            _log.exception("a fault in what is done each minute; please report this")
        for image in self._engine.images():
            seen = (image.base_guid, self._rounds // 60)
            if (
                self._stopping.is_set()
                or image.state not in _QUIET_STATES
                or self._seen.get(image.image_id) == seen
            ):
                continue
            try:
                self._trim(image)
                self._seen[image.image_id] = seen
                self._failures.pop(image.image_id, None)
            except RocksError as error:
                if self._failures.get(image.image_id) != str(error):
                    self._failures[image.image_id] = str(error)
                    _log.warning("old snapshots of %s stay: %s", image.zvol, error)
            except Exception:  # noqa: BLE001 - one image's fault must not end the thread of all
                _log.exception("a fault at the snapshots of %s; please report this", image.zvol)

    def _trim(self, image: Image) -> None:
        snapshots = [
            Snapshot(
                one.name,
                one.guid,
                one.createtxg,
                one.created_seconds,
                bool(one.holds),
                bool(one.clones),
            )
            for one in self._pools.read_history(image.volume).snapshots
        ]
        for one in expired(snapshots, _needed(image)):
            self._pools.ensure_snapshot_gone(image.volume, one.name, one.guid)


def _needed(image: Image) -> FrozenSet[str]:
    guids = {image.base_guid, image.final_guid, *(copy.guid for copy in image.copies)}
    return frozenset(guid for guid in guids if guid is not None)
