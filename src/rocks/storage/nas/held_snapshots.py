"""Snapshots of volumes that stay: of machines, by holds, which tags name; and those that other programs take."""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping, Optional

from rocks.core.errors import StateError, UserError
from rocks.fleet.wire.codec import encode
from rocks.storage.life.image import Image
from rocks.storage.life.names import HOLD_TAG, has_automatic_name
from rocks.storage.life.rejections import check_machine
from rocks.storage.life.states import LOCAL, PULLING, UNMAPPED
from rocks.storage.wire.names import read_tag
from rocks.storage.wire.replies import HeldRow
from rocks.storage.wire.requests import HoldSnapshot, ReleaseSnapshot
from rocks.storage.zfs.facts import History, SnapshotFact
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
