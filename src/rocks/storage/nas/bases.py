"""Base volumes: each image of the library is stored once in a pool, and disks are clones of its snapshot.

A base is complete when it has its snapshot, which is made last, with the property of snapshots made here: one that an
operator makes of the whole pool during a transfer is not it. A transfer that fails destroys what it has written;
anything else of the name is what an attempt that was killed has left, and the next attempt destroys it.
"""

from __future__ import annotations

import logging
from typing import IO, Any, Callable, Dict, List, Mapping, Optional

from rocks.core.clock import Deadline
from rocks.core.errors import IncoherentError, PoolFullError, RocksError, StateError, UserError
from rocks.core.image_blocks import blocks_read, send_blocks
from rocks.core.units import size_text
from rocks.fleet.wire.codec import encode
from rocks.storage.life.space import SEED_PERCENT
from rocks.storage.limits import BLOCK_BYTES, DEVICE_SECONDS
from rocks.storage.nas.imports import IMPORTING, Imports, is_importing, rounded, write_pieces
from rocks.storage.nas.volume_handlers import needed_volume
from rocks.storage.stream.frames import Opening, alive_reporter, send_line
from rocks.storage.stream.transport import Connection
from rocks.storage.wire.names import SNAPSHOT, base_volume, is_base
from rocks.storage.wire.replies import BaseRow, MadeBase
from rocks.storage.wire.requests import AddBase
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, History, SnapshotFact, VolumeFact
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
        """With its snapshots. StateError while it has clones."""
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
