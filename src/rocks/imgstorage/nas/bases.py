"""Base volumes: each image of the library is stored once in a pool, and disks are clones of its snapshot.

A base is complete when it has its snapshot, which is made last. Anything else of its name is what an attempt that was
killed has left; the next attempt destroys it.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from rocks.clock import Deadline
from rocks.devices.zfs.driver import PoolDriver
from rocks.devices.zfs.facts import SnapshotFact, VolumeFact
from rocks.errors import IncoherentError, PoolFullError, StateError, UserError
from rocks.image_blocks import blocks_read, send_blocks
from rocks.imgstorage.nas.handlers import BLOCK_BYTES
from rocks.imgstorage.nas.imports import DEVICE_SECONDS, IMPORTING, Imports, pieces, put_on_disk, rounded
from rocks.imgstorage.stream.lines import Opening, send_line
from rocks.imgstorage.stream.transport import Connection
from rocks.units import size_text
from rocks.wire.image_bases import SNAPSHOT, base_volume, is_base
from rocks.wire.imgstorage import AddBase

BASE = "base"
"""The purpose of a transfer that fills a base. Its `image_id` is the volume's whole name, `to_guid` its guid."""

_DIGEST, _SIZE, _IMAGE = "imgstore:basedigest", "imgstore:basesize", "imgstore:baseimage"
_LISTED_CLONES = 5


class Bases:
    """Makes, lists and destroys bases."""

    def __init__(self, pools: PoolDriver, imports: Imports, frontend: str) -> None:
        self._pools = pools
        self._imports = imports
        self._frontend = frontend

    def add(self, request: AddBase) -> Mapping[str, Any]:
        """Make the volume, unless the base is complete. PoolFullError when the pool has no space for the content."""
        zvol = base_volume(request.digest)
        if not is_base(zvol) or request.size_bytes <= 0:
            raise UserError(f"{request.digest[:80]!r} is not the digest of an image")
        name = f"{request.zpool}/{zvol}"
        pool = self._pools.read_pool(request.zpool)
        if self.snapshot_of(name) is None:
            if pool.free_bytes < request.used_bytes:
                raise PoolFullError(
                    f"the pool {request.zpool} has {size_text(pool.free_bytes)} free, and the image {request.image} "
                    f"needs {size_text(request.used_bytes)}; free space there, then repeat the command"
                )
            self._make(name, request)
        made = self._fact(name)
        is_complete = self.snapshot_of(name) is not None
        return {"guid": made.guid, "size_bytes": made.size_bytes, "complete": is_complete}

    def _make(self, name: str, request: AddBase) -> None:
        with self._imports.alone(name):
            found = self._pools.read_volume(name)
            if found is not None:
                self._pools.ensure_volume_gone(name, found.guid, may_lose_bytes=None)
            self._pools.ensure_volume(name, rounded(request.size_bytes), BLOCK_BYTES)
            properties = {
                IMPORTING: "yes",
                _DIGEST: request.digest,
                _SIZE: str(request.size_bytes),
                _IMAGE: request.image,
            }
            self._pools.ensure_properties(name, self._fact(name).guid, properties)

    def receive(self, connection: Connection, opening: Opening) -> None:
        """Write the content and read it back; with the right digest, the base is complete."""
        if connection.peer != self._frontend:
            raise UserError(f"{connection.peer} may not send images; only {self._frontend} may")
        volume = self._fact(opening.image_id)
        digest, size = volume.property_value(_DIGEST), volume.property_value(_SIZE)
        if (
            volume.guid != opening.to_guid
            or volume.property_value(IMPORTING) != "yes"
            or not digest
            or not size
        ):
            raise IncoherentError(f"{opening.image_id} is not the base of this transfer")
        path = self._pools.wait_for_device(volume.name, Deadline(DEVICE_SECONDS))
        with self._imports.alone(volume.name):
            with self._imports.open_device(path) as device:
                send_line(connection.writer, {"ready": True})
                for offset, data in pieces(connection.reader):
                    if offset + len(data) > volume.size_bytes:
                        raise IncoherentError(f"the image goes beyond the end of {volume.name}")
                    device.seek(offset)
                    device.write(data)
                put_on_disk(device)
                device.seek(0)
                found = send_blocks(int(size), blocks_read(device.read, int(size)))
            if found.digest != digest:
                raise IncoherentError(
                    f"{volume.name} is not the image that the library has the record of; rocks check image "
                    f"{volume.property_value(_IMAGE)} shows whether that is damaged; else repeat the command"
                )
            self._complete(volume)
            send_line(connection.writer, {"complete": True})

    def _complete(self, volume: VolumeFact) -> None:
        """The snapshot makes it a base, so it comes last."""
        self._pools.ensure_read_only(volume.name, volume.guid)
        self._pools.ensure_properties(volume.name, volume.guid, {IMPORTING: "no"})
        self._pools.ensure_snapshot(volume.name, volume.guid, SNAPSHOT, {})

    def snapshot_of(self, name: str) -> Optional[SnapshotFact]:
        """The snapshot of a complete base by the whole name of its volume, else None."""
        return self._pools.read_history(name).snapshot(SNAPSHOT)

    def rows(self) -> List[Dict[str, Any]]:
        """All bases of this NAS: pool, volume, image, digest, sizes, number of clones, whether it is complete."""
        rows: List[Dict[str, Any]] = []
        for zpool in self._pools.list_pools():
            for fact in self._pools.list_volumes(zpool):
                zvol = fact.name.partition("/")[2]
                if is_base(zvol):
                    rows.append(self._row(zpool, zvol, fact))
        return rows

    def _row(self, zpool: str, zvol: str, fact: VolumeFact) -> Dict[str, Any]:
        snapshot = self.snapshot_of(fact.name)
        return {
            "zpool": zpool,
            "zvol": zvol,
            "image": fact.property_value(_IMAGE) or "",
            "digest": fact.property_value(_DIGEST) or "",
            "used_bytes": fact.used_bytes,
            "clones": 0 if snapshot is None else len(snapshot.clones),
            "complete": snapshot is not None,
        }

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
                    f"and their images first (rocks remove host storageimg NAS {zpool} "
                    f"{clones[0].partition('/')[2]} now=yes)"
                )
            named = [(snapshot.name, snapshot.guid) for snapshot in snapshots]
            self._pools.ensure_volume_gone(name, found.guid, named, may_lose_bytes=None)

    def _fact(self, name: str) -> VolumeFact:
        found = self._pools.read_volume(name)
        if found is None:
            raise StateError(f"the volume {name} does not exist; repeat the command")
        return found
