"""Base volumes: each image of the library is stored once in a pool, and disks are clones of its snapshot.

A base is complete when it has its snapshot, which is made last, with the property of snapshots made here: one that an
operator makes of the whole pool during a transfer is not it. A transfer that fails destroys what it has written;
anything else of the name is what an attempt that was killed has left, and the next attempt destroys it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import IO, Any, Callable, Dict, List, Mapping, Optional, Sequence

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import IncoherentError, PoolFullError, RocksError, StateError, UserError
from rocks.core.image_blocks import blocks_read, send_blocks
from rocks.core.values import size_text
from rocks.fleet.wire.codec import encode
from rocks.storage.image import names
from rocks.storage.image.space import SEED_PERCENT
from rocks.storage.image.states import UNMAPPED
from rocks.storage.limits import BLOCK_BYTES, DEVICE_SECONDS
from rocks.storage.nas.engine import Engine, now_seconds
from rocks.storage.nas.lost_records import adopt, adopt_clones, adopt_volume, record_guid
from rocks.storage.nas.snapshots import present_snapshot
from rocks.storage.nas.volumes import (
    IMPORTING,
    Imports,
    is_importing,
    needed_volume,
    rounded,
    standing_grant,
    write_pieces,
)
from rocks.storage.stream.frames import Opening, alive_reporter, send_line
from rocks.storage.stream.transport import Connection
from rocks.storage.wire.names import SNAPSHOT, base_volume, is_base
from rocks.storage.wire.replies import BaseRow, MadeBase, MadeClones, RefusedClone
from rocks.storage.wire.requests import AddBase, CloneZvols, FreezeZvols, NewClone
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, OUR_PREFIX, History, SnapshotFact, VolumeFact
from rocks.storage.zfs.pool import PoolDriver

_log = logging.getLogger(__name__)

BASE = "base"
"""The purpose of a transfer that fills a base. Its `image_id` is the volume's whole name, `to_guid` its guid."""

_DIGEST, _SIZE, _IMAGE = "imgstore:basedigest", "imgstore:basesize", "imgstore:baseimage"
_LISTED_CLONES = 5


def base_of(history: History) -> Optional[SnapshotFact]:
    """The snapshot of a complete base in the history of its volume, else None."""
    found = history.snapshot(SNAPSHOT)
    return found if found is not None and found.is_automatic else None


def _reading(connection: Connection, device: IO[bytes]) -> Callable[[int], bytes]:
    """A function that reads the device, and reports to the frontend, which would end a silent connection."""
    report = alive_reporter(connection.writer)

    def read(count: int) -> bytes:
        report(count)
        return device.read(count)

    return read


class Bases:
    """Makes, lists and destroys bases."""

    def __init__(self, pools: PoolDriver, imports: Imports, frontend: str, node: str) -> None:
        self._pools = pools
        self._imports = imports
        self._frontend = frontend
        self._node = node

    def add(self, request: AddBase) -> Mapping[str, Any]:
        """Make the volume, unless the base is complete. PoolFullError when the pool has no space for the content."""
        zvol = base_volume(request.digest)
        if not is_base(zvol) or request.size_bytes <= 0:
            raise UserError(f"{request.digest[:80]!r} is not the digest of an image")
        name = f"{request.zpool}/{zvol}"
        self._pools.read_pool(request.zpool)
        if self.snapshot_of(name) is None:
            self._make(name, request)
        made = needed_volume(self._pools, name)
        is_complete = self.snapshot_of(name) is not None
        return dict(encode(MadeBase(made.guid, made.size_bytes, is_complete)))

    def _make(self, name: str, request: AddBase) -> None:
        with self._imports.alone(name):
            free_bytes = self._pools.read_pool(request.zpool).free_bytes
            found = self._pools.read_volume(name)
            if found is not None:
                self._destroy(found)
                free_bytes += found.used_bytes  # ZFS frees them later
            needed_bytes = request.used_bytes * SEED_PERCENT // 100
            if free_bytes < needed_bytes:
                raise PoolFullError(
                    f"the pool {request.zpool} has {size_text(free_bytes)} free, and the image {request.image} "
                    f"needs {size_text(needed_bytes)}; free space there, then repeat the command"
                )
            self._pools.ensure_volume(name, rounded(request.size_bytes), BLOCK_BYTES)
            properties = {
                IMPORTING: "yes",
                _DIGEST: request.digest,
                _SIZE: str(request.size_bytes),
                _IMAGE: request.image,
            }
            self._pools.ensure_properties(name, needed_volume(self._pools, name).guid, properties)

    def receive(self, connection: Connection, opening: Opening) -> None:
        """Write the content and read it back; with the right digest, the base is complete."""
        if connection.peer != self._frontend:
            raise UserError(f"{connection.peer} may not send images; only {self._frontend} may")
        with self._imports.alone(opening.image_id):
            volume = needed_volume(self._pools, opening.image_id)
            if volume.guid != opening.to_guid or not is_importing(volume):
                raise IncoherentError(f"{opening.image_id} is not the base of this transfer")
            try:
                self._fill(connection, volume)
            finally:
                self._destroy_unfinished(volume)
            send_line(connection.writer, {"complete": True})

    def _fill(self, connection: Connection, volume: VolumeFact) -> None:
        digest, size = volume.property_value(_DIGEST), volume.property_value(_SIZE)
        if not digest or not size:
            raise IncoherentError(f"{volume.name} is not the base of this transfer")
        path = self._pools.wait_for_device(volume.name, Deadline(DEVICE_SECONDS))
        with self._imports.open_device(path) as device:
            send_line(connection.writer, {"ready": True})
            for _ in write_pieces(connection, device, volume):
                pass
            device.seek(0)
            found = send_blocks(int(size), blocks_read(_reading(connection, device), int(size)))
        if found.digest != digest:
            raise IncoherentError(
                f"{volume.name} is not the image that the library has the record of; rocks check image "
                f"{volume.property_value(_IMAGE)} shows whether that is damaged; else repeat the command"
            )
        self._complete(volume)

    def _complete(self, volume: VolumeFact) -> None:
        """The snapshot makes it a base, so it comes last."""
        self._pools.ensure_read_only(volume.name, volume.guid)
        self._pools.ensure_properties(volume.name, volume.guid, {IMPORTING: "no"})
        other = self._pools.read_history(volume.name).snapshot(SNAPSHOT)
        if other is not None:  # by an operator, of a part of the content
            self._pools.ensure_snapshot_gone(volume.name, other.name, other.guid)
        self._pools.ensure_snapshot(volume.name, volume.guid, SNAPSHOT, AUTOMATIC_PROPERTY)

    def _destroy_unfinished(self, volume: VolumeFact) -> None:
        """Destroy what a transfer that failed has written: the pool may be full of it."""
        try:
            if self.snapshot_of(volume.name) is None:
                self._destroy(volume)
        except RocksError as error:
            _log.warning("%s stays unfinished, until its image is sent again: %s", volume.name, error)

    def _destroy(self, volume: VolumeFact) -> None:
        """Destroy the volume with its snapshots. StateError while it has clones."""
        snapshots = [(one.name, one.guid) for one in self._pools.read_history(volume.name).snapshots]
        self._pools.ensure_volume_gone(volume.name, volume.guid, snapshots, may_lose_bytes=None)

    def snapshot_of(self, name: str) -> Optional[SnapshotFact]:
        """The snapshot of a complete base by the whole name of its volume, else None."""
        return base_of(self._pools.read_history(name))

    def rows(self) -> List[Dict[str, Any]]:
        """All bases of this NAS: pool, volume, image, digest, sizes, number of clones, whether it is complete."""
        rows: List[Dict[str, Any]] = []
        for zpool in self._pools.list_pools():
            for fact in self._pools.list_volumes(zpool):
                zvol = fact.name.partition("/")[2]
                if is_base(zvol):
                    rows.append(encode(self._row(zpool, zvol, fact)))
        return rows

    def _row(self, zpool: str, zvol: str, fact: VolumeFact) -> BaseRow:
        snapshot = self.snapshot_of(fact.name)
        return BaseRow(
            zpool,
            zvol,
            fact.property_value(_IMAGE) or "",
            fact.property_value(_DIGEST) or "",
            fact.used_bytes,
            clones=0 if snapshot is None else len(snapshot.clones),
            complete=snapshot is not None,
        )

    def is_gone(self, zpool: str, zvol: str) -> bool:
        """Whether there is no such volume."""
        return self._pools.read_volume(f"{zpool}/{zvol}") is None

    def remove(self, zpool: str, zvol: str) -> None:
        """Destroy a base. StateError, with the names, while disks are clones of it."""
        name = f"{zpool}/{zvol}"
        with self._imports.alone(name):
            found = self._pools.read_volume(name)
            if found is None:
                raise StateError(f"there is no base {name} on this NAS; rocks list image bases=yes shows all")
            snapshots = self._pools.read_history(name).snapshots
            clones = [clone for snapshot in snapshots for clone in snapshot.clones]
            if clones:
                listed = ", ".join(clones[:_LISTED_CLONES]) + (" …" if len(clones) > _LISTED_CLONES else "")
                raise StateError(
                    f"{name} is not destroyed: {len(clones)} disks are clones of it ({listed}); remove these machines "
                    f"and their images first (rocks remove host storageimg {self._node} {zpool} "
                    f"{clones[0].partition('/')[2]} now=yes)"
                )
            self._destroy(found)


# --- many disks at once as clones: of a base, or of a snapshot of the disk of a machine that is off ------------------


_OF_AN_IMAGE = {f"{OUR_PREFIX}image-disk": "on"}
"""The property of the first disk of a machine, whatever its image is."""

_OF_A_MACHINE = {f"{OUR_PREFIX}cloned-disk": "on"}
"""The property of a copy of a machine's disk (`replaces`), which a killed command leaves."""


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
                "changes are written back (rocks stop host vm HOST terminate=yes)"
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
