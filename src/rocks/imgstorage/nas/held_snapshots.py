"""Snapshots of volumes that stay, as parts of snapshots of machines: holds, which tags name."""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping

from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import SnapshotFact
from rocks.errors import Code, StateError, UserError
from rocks.imgstorage.life.image import Image
from rocks.imgstorage.life.states import LOCAL, PULLING, UNMAPPED
from rocks.wire.held_snapshots import read_tag
from rocks.wire.imgstorage import HoldSnapshot, ReleaseSnapshot

_log = logging.getLogger(__name__)


class HeldSnapshots:
    """Holds and releases them."""

    def __init__(
        self,
        pools: PoolDriver,
        known: Callable[[str], Image],
        present: Callable[[str, str], SnapshotFact],
    ) -> None:
        """`present` makes the snapshot of the present content of an unmapped image, by its pool and name."""
        self._pools = pools
        self._known = known
        self._present = present

    def hold(self, request: HoldSnapshot) -> Mapping[str, Any]:
        """Hold a snapshot; its name and guid. StateError when the image is not as the request says."""
        if not request.tags or any(read_tag(tag) is None for tag in request.tags):
            raise UserError("the request has no tags of a snapshot of a machine; please report this")
        image = self._known(request.zvol)
        if request.machine and image.machine not in ("", request.machine):
            raise StateError(
                f"ZVol {image.zvol} belongs to another machine ({image.machine}), which was removed or made anew",
                code=Code.IMAGE_FOREIGN,
            )
        one = self._chosen(image, request)
        for tag in request.tags:
            self._pools.ensure_hold(image.volume, one.name, one.guid, tag)
        _log.info("%s@%s is held: %s", image.volume, one.name, ", ".join(request.tags))
        return {"name": one.name, "guid": one.guid}

    def _chosen(self, image: Image, request: HoldSnapshot) -> SnapshotFact:
        is_at_rest = image.owner is None and image.state == UNMAPPED
        if not request.is_mapped and is_at_rest:
            return self._present(image.pool, image.zvol)
        if request.is_mapped and image.owner is not None and image.state in (LOCAL, PULLING):
            # the last one that was verified here; a later one may be on its way
            guid = request.guid or image.base_guid
            for one in self._pools.read_history(image.volume).snapshots:
                if one.guid == guid:
                    return one
        where = image.state if image.owner is None else f"{image.state} on {image.owner}"
        raise StateError(
            f"ZVol {image.zvol} is {where}, and gets no snapshot now: its machine must be off and its changes written "
            "back, or run from a complete copy on its host; `rocks list host storagemap` shows that"
        )

    def release(self, request: ReleaseSnapshot) -> Mapping[str, Any]:
        """Release the holds of a snapshot of a machine, or of all of them: retention may destroy the snapshots."""
        image = self._known(request.zvol)
        self._release(image, request.snapshot)
        return {"zvol": image.zvol}

    def release_unmapped(self, image: Image) -> None:
        """Release all of an image that no host has, and that is to be destroyed by force."""
        if image.owner is None and image.state == UNMAPPED:
            self._release(image, "")

    def _release(self, image: Image, snapshot: str) -> None:
        if self._pools.read_volume(image.volume) is None:
            return
        for one in self._pools.read_history(image.volume).snapshots:
            for hold in one.holds:
                tag = read_tag(hold)
                if tag is not None and snapshot in ("", tag.snapshot):
                    self._pools.ensure_released(image.volume, one.name, one.guid, hold)
