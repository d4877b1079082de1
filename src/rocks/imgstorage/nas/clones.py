"""Many disks at once as clones of one snapshot: of the base of an image, or of the disk of a machine that is off."""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Mapping

from rocks.clock import monotonic_seconds
from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import SnapshotFact, VolumeFact
from rocks.errors import StateError, UserError
from rocks.imgstorage.life import names
from rocks.imgstorage.life.states import UNMAPPED
from rocks.imgstorage.nas.engine import Engine, now_seconds
from rocks.imgstorage.nas.handlers import AUTOMATIC, standing_grant
from rocks.imgstorage.nas.imports import IMPORTING, Imports
from rocks.imgstorage.nas.unknown_images import adopt, adopt_volume
from rocks.wire.image_bases import is_base
from rocks.wire.imgstorage import CloneZvols, FreezeZvols, NewClone

_log = logging.getLogger(__name__)


class Clones:
    """Makes clones, and the snapshots that they are made of."""

    def __init__(self, pools: PoolDriver, engine: Engine, imports: Imports, node: str) -> None:
        self._pools = pools
        self._engine = engine
        self._imports = imports
        self._node = node

    def freeze(self, request: FreezeZvols) -> Mapping[str, Any]:
        """Volume → the name of a snapshot that equals its present content. StateError for an image that is in use."""
        began = monotonic_seconds()
        found = {zvol: self._freeze(request.zpool, zvol) for zvol in request.zvols}
        _log.info("%s: %d disks frozen in %.2f s", request.zpool, len(found), monotonic_seconds() - began)
        return {"body": found}

    def _freeze(self, zpool: str, zvol: str) -> str:
        image = adopt(self._engine, self._pools, self._node, zpool, zvol)
        if image is None or image.pool != zpool:
            raise StateError(
                f"{self._node} has no image {zvol} in {zpool}: start its machine once, then stop it: then it "
                "has one"
            )
        self._imports.check_complete(image.volume)
        if image.owner is not None or image.state != UNMAPPED:
            where = f"{image.state}" if image.owner is None else f"{image.state} on {image.owner}"
            raise StateError(
                f"ZVol {zvol} is {where}, and only an image at rest is cloned: stop its machine, and wait until its "
                "changes are written back (rocks stop host vm HOST terminate=true)"
            )
        volume = self._pools.read_volume(image.volume)
        if volume is None:
            raise StateError(
                f"the volume {image.volume} does not exist; `zfs list -t volume` on the NAS lists them"
            )
        history = self._pools.read_history(image.volume)
        newest = history.newest
        if newest is None or self._pools.written_since(image.volume, newest.name, newest.guid) > 0:
            seconds = now_seconds()
            while history.snapshot(names.snapshot_name(image.epoch, image.sequence, seconds)) is not None:
                seconds += 1  # one of this very second has an earlier content
            name = names.snapshot_name(image.epoch, image.sequence, seconds)
            newest = self._pools.ensure_snapshot(image.volume, volume.guid, name, AUTOMATIC)
        return newest.name

    def clone(self, request: CloneZvols) -> Mapping[str, Any]:
        """Make the clones that are missing: the names of those made, of those present, and of those without origin."""
        began = monotonic_seconds()
        self._pools.read_pool(request.zpool)
        for clone in request.clones:
            self._imports.check_new(clone.zvol)
            if is_base(clone.zvol):
                raise UserError(f"{clone.zvol} is the name of a base of an image; give another")
        facts = self._facts(request.zpool)
        if request.replaces:
            self._remove_unused(request, facts)
        absent = [clone for clone in request.clones if clone.zvol not in facts and not self._is_lost(clone)]
        origins = self._origins(request.zpool, absent)
        missing = [clone.zvol for clone in absent if clone.origin not in origins]
        made: List[str] = []
        for origin, snapshot in origins.items():
            volumes = [f"{request.zpool}/{clone.zvol}" for clone in absent if clone.origin == origin]
            self._pools.ensure_clones(volumes, f"{request.zpool}/{origin}", snapshot.guid)
            made += [clone.zvol for clone in absent if clone.origin == origin]
        facts = self._facts(request.zpool) if made else facts
        for clone in request.clones:
            self._settle(clone, facts.get(clone.zvol))
        present = [clone.zvol for clone in request.clones if clone.zvol not in {*made, *missing}]
        if made:
            _log.info("%s: %d disks cloned in %.2f s", request.zpool, len(made), monotonic_seconds() - began)
        return {"made": made, "present": present, "missing": missing}

    def _is_lost(self, clone: NewClone) -> bool:
        """Whether a host had an image of this name: its volume is looked for, and no new one takes its place."""
        image = self._engine.image_of(clone.zvol)
        return image is not None and (image.volume_guid is not None or image.owner is not None)

    def _facts(self, zpool: str) -> Dict[str, VolumeFact]:
        return {fact.name.partition("/")[2]: fact for fact in self._pools.list_volumes(zpool)}

    def _origins(self, zpool: str, clones: List[NewClone]) -> Dict[str, SnapshotFact]:
        """The snapshots that exist, by the origin that the request names."""
        found: Dict[str, SnapshotFact] = {}
        for origin in dict.fromkeys(clone.origin for clone in clones if clone.origin):
            volume, _, name = origin.partition("@")
            self._imports.check_not_removed(volume)
            snapshot = self._pools.read_history(f"{zpool}/{volume}").snapshot(name)
            if snapshot is not None:
                found[origin] = snapshot
        return found

    def _settle(self, clone: NewClone, fact: object) -> None:
        """Grow a clone that no host has had; a daemon that was killed may have left it small. List it as an image."""
        if not isinstance(fact, VolumeFact):
            return
        self._imports.check_complete_fact(fact)
        is_new = fact.origin is not None and fact.origin.partition("/")[2] == clone.origin
        if is_new and not standing_grant(fact).epoch and fact.size_bytes < clone.size_bytes:
            rounded = -(-clone.size_bytes // fact.block_bytes) * fact.block_bytes
            self._pools.ensure_size(fact.name, fact.guid, rounded)
        adopt_volume(self._engine, self._node, fact)

    def _remove_unused(self, request: CloneZvols, facts: Dict[str, VolumeFact]) -> None:
        """Remove clones of an earlier snapshot that an interrupted command left. StateError for any other volume."""
        unused: List[VolumeFact] = []
        for clone in request.clones:
            fact = facts.get(clone.zvol)
            origin = "" if fact is None or fact.origin is None else fact.origin.partition("/")[2]
            if fact is None or origin == clone.origin:
                continue
            is_unused = (
                origin.partition("@")[0] == clone.origin.partition("@")[0]
                and not standing_grant(fact).epoch
                and fact.written_bytes == 0
                and fact.property_value(IMPORTING) is None
                and not self._pools.read_history(fact.name).snapshots
            )
            if not is_unused:
                raise StateError(
                    f"ZVol {clone.zvol} exists already in {request.zpool}, and is not a clone of {clone.origin}; "
                    f"remove it (rocks remove host storageimg {self._node} {request.zpool} {clone.zvol} now=yes), or "
                    "use another name"
                )
            unused.append(fact)
        for fact in unused:
            self._pools.ensure_volume_gone(fact.name, fact.guid)
            del facts[fact.name.partition("/")[2]]
