"""Many disks at once as clones, of the base of an OS image or of a snapshot of the disk of a machine that is off."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import StateError, UserError
from rocks.core.units import size_text
from rocks.fleet.wire.codec import encode
from rocks.storage.life import names
from rocks.storage.life.states import UNMAPPED
from rocks.storage.nas.bases import base_of
from rocks.storage.nas.engine import Engine, now_seconds
from rocks.storage.nas.held_snapshots import present_snapshot
from rocks.storage.nas.imports import IMPORTING, Imports
from rocks.storage.nas.unknown_images import adopt, adopt_clones, adopt_volume, record_guid
from rocks.storage.nas.volume_handlers import standing_grant
from rocks.storage.wire.names import is_base
from rocks.storage.wire.replies import MadeClones, RefusedClone
from rocks.storage.wire.requests import CloneZvols, FreezeZvols, NewClone
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, OUR_PREFIX, SnapshotFact, VolumeFact
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)
_OF_AN_IMAGE = {f"{OUR_PREFIX}image-disk": "on"}
"""Of the first disk of a machine, whatever its image is."""

_OF_A_MACHINE = {f"{OUR_PREFIX}cloned-disk": "on"}
"""Of the copy of a machine's disk (`replaces`): a killed command leaves it, and a later machine may get its name."""


class Clones:
    """Makes clones, and the snapshots that they are made of."""

    def __init__(self, pools: PoolDriver, engine: Engine, imports: Imports, node: str) -> None:
        self._pools = pools
        self._engine = engine
        self._imports = imports
        self._node = node

    def freeze(self, request: FreezeZvols) -> Mapping[str, Any]:
        """Volume → the name of a snapshot that equals its present content. StateError for a disk that is in use."""
        began = monotonic_seconds()
        found = {zvol: self.snapshot_of_now(request.zpool, zvol).name for zvol in request.zvols}
        _log.info("%s: %d disks frozen in %.2f s", request.zpool, len(found), monotonic_seconds() - began)
        return {"body": found}

    def snapshot_of_now(self, zpool: str, zvol: str) -> SnapshotFact:
        """A snapshot that equals the present content of a disk, made if there is none. Errors as of `freeze`."""
        if is_base(zvol):
            raise UserError(f"{zvol} is the base of an image, and not the disk of a machine")
        image = adopt(self._engine, self._pools, self._node, zpool, zvol)
        if image is None or image.pool != zpool:
            raise StateError(
                f"{self._node} has no image {zvol} in {zpool}: start its machine once, then stop it: then it "
                "has one"
            )
        volume = self._pools.read_volume(image.volume)
        if volume is not None:
            self._imports.check_complete_fact(volume)
        if image.owner is not None or image.state != UNMAPPED:
            where = image.state if image.owner is None else f"{image.state} on {image.owner}"
            raise StateError(
                f"ZVol {zvol} is {where}, and only an image at rest is cloned: stop its machine, and wait until its "
                "changes are written back (rocks stop host vm HOST terminate=true)"
            )
        if volume is None or image.volume_guid not in (None, volume.guid):
            raise StateError(
                f"the volume {image.volume} does not exist, or another has its name; `zfs list -t volume` on the NAS "
                "lists them"
            )
        history = self._pools.read_history(image.volume)
        newest = present_snapshot(self._pools, image.volume, history)
        if newest is None:
            seconds = now_seconds()
            while history.snapshot(names.snapshot_name(image.epoch, image.sequence, seconds)) is not None:
                seconds += 1  # one of this very second has an earlier content
            name = names.snapshot_name(image.epoch, image.sequence, seconds)
            newest = self._pools.ensure_snapshot(image.volume, volume.guid, name, AUTOMATIC_PROPERTY)
        return newest

    def clone(self, request: CloneZvols) -> Mapping[str, Any]:
        """Make the clones that are missing; answer with `MadeClones`.

        With `replaces`, StateError for the first of these.
        """
        began = monotonic_seconds()
        sources = {clone.zvol: source for clone, source in zip(request.clones, request.sources)}
        request = replace(request, clones=tuple(dict.fromkeys(request.clones)))
        for clone in request.clones:
            if is_base(clone.zvol):
                raise UserError(f"{clone.zvol} is the name of a base of an image; give another")
        facts = self._facts(request)
        if request.replaces:
            self._check_replaced(request, facts)
            self._remove_unused(request, facts)
        refused = self._refused(request, facts, sources)
        without_volume = [
            clone
            for clone in request.clones
            if clone.zvol not in facts and clone.zvol not in refused
            if request.replaces or not self._had_volume(clone)
        ]
        origins = self._origins(request.zpool, without_volume)
        without_origin = [clone.zvol for clone in without_volume if clone.origin not in origins]
        to_make = [clone for clone in without_volume if clone.origin in origins]
        made = [clone.zvol for clone in to_make]
        if to_make:
            zpool = request.zpool
            self._pools.ensure_clones(
                {f"{zpool}/{clone.zvol}": f"{zpool}/{clone.origin}" for clone in to_make},
                {f"{zpool}/{origin}": guid for origin, guid in origins.items()},
                _OF_A_MACHINE if request.replaces else _OF_AN_IMAGE,
            )
            facts.update(self._read(zpool, made))
        self._settle([clone for clone in request.clones if clone.zvol not in refused], facts, made)
        others = {*made, *without_origin, *refused}
        present = [clone.zvol for clone in request.clones if clone.zvol not in others]
        if made:
            _log.info("%s: %d disks cloned in %.2f s", request.zpool, len(made), monotonic_seconds() - began)
        reasons = tuple(RefusedClone(zvol, reason) for zvol, reason in refused.items())
        return dict(encode(MadeClones(tuple(made), tuple(present), tuple(without_origin), reasons)))

    def _refused(
        self, request: CloneZvols, facts: Mapping[str, VolumeFact], sources: Mapping[str, str]
    ) -> Dict[str, str]:
        """Volume → why it is not made, or not used. The map of what exists has checks of its own."""
        refused: Dict[str, str] = {}
        ways = Counter(clone.zvol for clone in request.clones)
        for clone in request.clones:
            fact = facts.get(clone.zvol)
            try:
                if fact is not None:
                    self._check_image(clone, fact, sources.get(clone.zvol, ""))
                else:
                    _check_once(clone, ways)
                    self._imports.check_new(clone.zvol, request.zpool)
                    _check_size(clone, facts.get(clone.origin.partition("@")[0]))
            except StateError as error:
                refused[clone.zvol] = str(error)
        return refused

    def _check_image(self, clone: NewClone, fact: VolumeFact, source: str) -> None:
        """StateError for a disk of something else that no host has had.

        A removed machine of the name has left it, or a killed command that cloned a cluster.
        """
        origin = "" if fact.origin is None else fact.origin.partition("/")[2].partition("@")[0]
        expected = {clone.origin.partition("@")[0], source} - {""}
        stored = dict(fact.properties).items()
        is_known = is_base(origin) or stored >= _OF_AN_IMAGE.items() or stored >= _OF_A_MACHINE.items()
        # one without an origin was promoted: what it was made from is not known any more
        if origin and is_known and expected and origin not in expected and not standing_grant(fact).epoch:
            zpool = fact.name.partition("/")[0]
            raise StateError(
                f"ZVol {clone.zvol} in {zpool} is an unused disk of another image ({origin}), not of the one that is "
                f"asked for: remove it (rocks remove host storageimg {self._node} {zpool} {clone.zvol} now=yes), then "
                "repeat the command"
            )

    def _check_replaced(self, request: CloneZvols, facts: Mapping[str, VolumeFact]) -> None:
        """StateError for a disk that could hide another of its name: of a removed image, or of one that is lost."""
        ways = Counter(clone.zvol for clone in request.clones)
        for clone in request.clones:
            _check_once(clone, ways)
            self._imports.check_new(clone.zvol, request.zpool)
            name = f"{request.zpool}/{clone.zvol}"
            if self._had_volume(clone) and clone.zvol not in facts:
                raise StateError(
                    f"the volume {name} of ZVol {clone.zvol} does not exist, and no other replaces it: rename it back, "
                    f"or remove the record of it (rocks remove host storageimg {self._node} {request.zpool} "
                    f"{clone.zvol} now=yes)"
                )

    def _had_volume(self, clone: NewClone) -> bool:
        """Whether there was a volume of this name, or a host had it: it is looked for, and no other takes its place."""
        image = self._engine.image_of(clone.zvol)
        return image is not None and (
            image.volume_guid is not None or image.owner is not None or image.epoch > 0
        )

    def _facts(self, request: CloneZvols) -> Dict[str, VolumeFact]:
        """The volumes of the request and those of their origins, if they exist; StateError without the pool.

        The other volumes of the pool are not read: a site has thousands.
        """
        volumes = [clone.zvol for clone in request.clones]
        origins = [clone.origin.partition("@")[0] for clone in request.clones if clone.origin]
        return self._read(request.zpool, [*volumes, *origins])

    def _read(self, zpool: str, volumes: Sequence[str]) -> Dict[str, VolumeFact]:
        """Volume → fact, for those that exist."""
        found = self._pools.read_volumes([f"{zpool}/{volume}" for volume in dict.fromkeys(volumes)])
        return {name.partition("/")[2]: fact for name, fact in found.items()}

    def _origins(self, zpool: str, clones: List[NewClone]) -> Dict[str, str]:
        """The origins, as the request names them, whose snapshot exists, and its guid."""
        origins = dict.fromkeys(clone.origin for clone in clones if clone.origin)
        found: Dict[str, str] = {}
        for origin in origins:
            volume = origin.partition("@")[0]
            self._imports.check_not_removed(volume)
            if is_base(volume) and (base := base_of(self._pools.read_history(f"{zpool}/{volume}"))):
                found[origin] = base.guid
        others = [origin for origin in origins if not is_base(origin.partition("@")[0])]
        guids = self._pools.read_guids([f"{zpool}/{origin}" for origin in others])
        return {**found, **{name.partition("/")[2]: guid for name, guid in guids.items()}}

    def _settle(
        self, clones: Sequence[NewClone], facts: Mapping[str, VolumeFact], made: Sequence[str]
    ) -> None:
        """List the clones as images. Grow those that no host has had: a killed daemon may have left them small."""
        # the map of a volume that is being imported is refused
        settled = [
            (clone, facts[clone.zvol])
            for clone in clones
            if clone.zvol in facts and facts[clone.zvol].property_value(IMPORTING) != "yes"
        ]
        adopt_clones(self._engine, self._node, [fact for clone, fact in settled if clone.zvol in made])
        for clone, fact in settled:
            if clone.zvol not in made:
                adopt_volume(self._engine, self._node, fact)
        # behind the records: a clone that cannot grow leaves the others with theirs
        for clone, fact in settled:
            is_new = fact.origin is not None and fact.origin.partition("/")[2] == clone.origin
            if is_new and not standing_grant(fact).epoch and fact.size_bytes < clone.size_bytes:
                rounded = -(-clone.size_bytes // fact.block_bytes) * fact.block_bytes
                self._pools.ensure_size(fact.name, fact.guid, rounded)

    def _remove_unused(self, request: CloneZvols, facts: Dict[str, VolumeFact]) -> None:
        """Remove clones of an earlier snapshot that an interrupted command left.

        StateError for any other volume, and for a clone that was used: it has what its former machine has written.
        """
        unused: List[VolumeFact] = []
        for clone in request.clones:
            fact = facts.get(clone.zvol)
            if fact is None:
                continue
            origin = "" if fact.origin is None else fact.origin.partition("/")[2]
            is_unused = (
                origin.partition("@")[0] == clone.origin.partition("@")[0]
                and not standing_grant(fact).epoch
                and fact.written_bytes == 0
                and fact.property_value(IMPORTING) is None
                and not self._pools.read_history(fact.name).snapshots
            )
            if not is_unused:
                raise StateError(
                    f"ZVol {clone.zvol} exists already in {request.zpool}, and is not an unused clone of "
                    f"{clone.origin}; remove it (rocks remove host storageimg {self._node} {request.zpool} "
                    f"{clone.zvol} now=yes), or use another name"
                )
            if origin != clone.origin:
                unused.append(fact)
        for fact in unused:
            zvol = fact.name.partition("/")[2]
            image = self._engine.image_of(zvol)
            if image is not None:
                # else the volume would be looked for, as one that is lost
                record_guid(self._engine, image, None)
            self._pools.ensure_volume_gone(fact.name, fact.guid)
            del facts[zvol]


def _check_once(clone: NewClone, ways: Mapping[str, int]) -> None:
    """StateError for a disk with several `ways` to be made (by volume): a machine would get the disk of another."""
    if ways[clone.zvol] > 1:
        raise StateError(
            f"ZVol {clone.zvol} is asked for twice, with different origins or sizes: it is the disk of two machines. "
            "Give one of them another (rocks list host vm showdisks=yes, rocks set host vm HOST disk=DISKS)"
        )


def _check_size(clone: NewClone, origin: Optional[VolumeFact]) -> None:
    """StateError for a clone that would be larger than the disk that is asked for: a volume is never made smaller."""
    if origin is not None and 0 < clone.size_bytes < origin.size_bytes:
        raise StateError(
            f"ZVol {clone.zvol} is to have {size_text(clone.size_bytes)}, and {origin.name}, of which it is a clone, "
            f"has {size_text(origin.size_bytes)}; make the disk larger, or use a smaller image"
        )
