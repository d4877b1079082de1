"""New volumes on a NAS: empty ones, clones and imports."""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Mapping, Set, Tuple, cast

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError, StateError, ToolError, UserError
from rocks.core.units import size_text
from rocks.storage.life.states import DELETING
from rocks.storage.limits import BLOCK_BYTES, DEVICE_SECONDS
from rocks.storage.nas.engine import NasContext
from rocks.storage.nas.volume_handlers import check_space, needed_volume
from rocks.storage.stream.frames import Opening, alive_reporter, read_frames, receive_line, send_line
from rocks.storage.stream.pace import Meter
from rocks.storage.stream.transport import Connection
from rocks.storage.wire.names import is_base
from rocks.storage.wire.requests import AddZvol
from rocks.storage.zfs.facts import SnapshotFact, VolumeFact

IMPORT = "import"
"""The purpose of a transfer that fills a new volume. Its `image_id` is the volume's whole name, `to_guid` its guid."""

IMPORTING = "imgstore:importing"
_OFFSET = struct.Struct(">Q")
_PIECE_BYTES = 4 * 1024 * 1024
_FLUSH_BYTES = 2**30

OpenDevice = Callable[[str], IO[bytes]]


def open_device(path: str) -> IO[bytes]:
    """A block device, to be written and read back. ToolError when it cannot be opened."""
    try:
        return cast("IO[bytes]", Path(path).open("r+b", buffering=0))
    except OSError as error:
        raise ToolError(f"{path} cannot be opened: {error.strerror}") from None


class Imports:
    """Makes volumes and receives the content of imports, from the frontend only."""

    def __init__(
        self,
        context: NasContext,
        frontend: str,
        open_device: OpenDevice = open_device,
        check_free: Callable[[str], None] = lambda zvol: None,
    ) -> None:
        """`check_free` raises StateError for the name of an image that is being moved to this NAS."""
        self._check_free = check_free
        self._pools, self._engine, _, self._progress = context
        self._frontend = frontend
        self.open_device = open_device
        self.running: Set[str] = set()
        self._lock = threading.Lock()

    def add(self, request: AddZvol) -> Mapping[str, Any]:
        """Make the volume; returns its guid and size. StateError when it exists, except for an interrupted import.

        StateError also when the pool has no space for the changes of a volume of its size, as at a map and a growth.
        """
        name = f"{request.zpool}/{request.zvol}"
        pool = self._pools.read_pool(request.zpool)
        found = self._pools.read_volume(name)
        if is_base(request.zvol):
            raise UserError(f"{request.zvol} is the name of a base of an image; give another")
        self.check_new(request.zvol, request.zpool)
        if found is not None and not (request.importing and is_importing(found)):
            raise StateError(
                f"ZVol {request.zvol} exists already in {request.zpool}; remove it first, or use another name"
            )
        if request.origin is None:
            # ZFS frees later what the rest of an interrupted import has
            free_bytes = pool.free_bytes + (0 if found is None else found.used_bytes)
            size_bytes = rounded(request.size_bytes)
            outcome = f"the volume {name} of {size_text(size_bytes)} is not made"
            check_space(outcome, pool._replace(free_bytes=free_bytes), size_bytes)
        if found is not None:
            # the rest of an interrupted import, possibly of another file: none of it is used
            with self.alone(name):
                self._pools.ensure_volume_gone(name, found.guid, may_lose_bytes=None)
        if request.origin is not None:
            self._clone(name, request)
        elif request.size_bytes > 0:
            # the mark from the first moment: without it an empty volume would count as an image
            mark = {IMPORTING: "yes"} if request.importing else {}
            self._pools.ensure_volume(name, rounded(request.size_bytes), BLOCK_BYTES, properties=mark)
        else:
            raise UserError(f"ZVol {request.zvol} needs a size, an origin or a file")
        made = needed_volume(self._pools, name)
        return {"zvol": request.zvol, "guid": made.guid, "size_bytes": made.size_bytes}

    def check_new(self, zvol: str, zpool: str) -> None:
        """StateError for a name that is in its grace period, is being moved here, or has another pool or spelling."""
        self.check_not_removed(zvol)
        self._check_free(zvol)
        self._engine.check_target(zvol)
        image = self._engine.image_of(zvol)
        if image is not None and image.pool != zpool:
            raise StateError(f"ZVol {zvol} is in the pool {image.pool} of {image.nas}, not in {zpool}")

    def check_complete(self, volume: str) -> None:
        """StateError for a volume whose import is not complete."""
        found = self._pools.read_volume(volume)
        if found is not None:
            self.check_complete_fact(found)

    def check_complete_fact(self, volume: VolumeFact) -> None:
        """As `check_complete`, of a volume that was read."""
        if is_importing(volume):
            raise StateError(
                f"the import of {volume.name} is not complete; wait for it, or repeat `rocks add host storageimg`"
            )

    def receive(self, connection: Connection, opening: Opening) -> None:
        """Write the content, read it back, send the digest; when the other end agrees, the volume is complete."""
        if connection.peer != self._frontend:
            raise UserError(f"{connection.peer} may not import images; only {self._frontend} may")
        volume = needed_volume(self._pools, opening.image_id)
        if volume.guid != opening.to_guid or not is_importing(volume):
            raise IncoherentError(f"{opening.image_id} is not the volume of this import")
        path = self._pools.wait_for_device(volume.name, Deadline(DEVICE_SECONDS))
        with self.alone(volume.name):
            with self.open_device(path) as device, self._reporting(volume) as report:
                send_line(connection.writer, {"ready": True})
                for end in write_pieces(connection, device, volume):
                    report(end)
                device.seek(0)
                digest = read_digest(device, volume.size_bytes, alive_reporter(connection.writer))
                send_line(connection.writer, {"digest": digest})
            if receive_line(connection.reader).get("agreed") is True:
                self._pools.ensure_properties(volume.name, volume.guid, {IMPORTING: "no"})
                self._engine.set_importing(volume.name.partition("/")[2], False)
                send_line(connection.writer, {"complete": True})

    @contextmanager
    def _reporting(self, volume: VolumeFact) -> Iterator[Callable[[int], None]]:
        """A function that reports the progress by the end of each part, until the end of the `with`."""
        image = self._engine.image_of(volume.name.partition("/")[2])
        image_id = "" if image is None else image.image_id
        meter = Meter(volume.size_bytes, monotonic_seconds())
        try:
            yield lambda end: self._progress.report(image_id, meter.reach(end, monotonic_seconds()))
        finally:
            self._progress.end(image_id)

    @contextmanager
    def alone(self, volume: str) -> Iterator[None]:
        """Keep other imports of the volume away. BusyError while there is one."""
        with self._lock:
            if volume in self.running:
                raise BusyError(f"another import of {volume} is running; wait for it, or interrupt it")
            self.running.add(volume)
        try:
            yield
        finally:
            with self._lock:
                self.running.discard(volume)

    def check_not_removed(self, zvol: str) -> None:
        """StateError for an image in its grace period: a new one of its name would hide it, a clone preserve it."""
        image = self._engine.image_of(zvol)
        if image is not None and image.state == DELETING:
            raise StateError(
                f"ZVol {zvol} was removed and is in its grace period: restore it by rocks restore host storageimg "
                f"{image.nas} {zvol}, or destroy it by rocks remove host storageimg {image.nas} {image.pool} {zvol} "
                "now=yes"
            )

    def _clone(self, name: str, request: AddZvol) -> None:
        origin, _, name_of_snapshot = str(request.origin).partition("@")
        parent = f"{request.zpool}/{origin}"
        self.check_not_removed(origin)
        self.check_complete(parent)
        fact = needed_volume(self._pools, parent)
        snapshot = self._snapshot(parent, fact, name_of_snapshot, request.zvol)
        full_name = f"{parent}@{snapshot.name}"
        self._pools.ensure_clones({name: full_name}, {full_name: snapshot.guid}, {})

    def _snapshot(self, parent: str, fact: VolumeFact, name: str, zvol: str) -> SnapshotFact:
        if name:
            found = self._pools.read_history(parent).snapshot(name)
            if found is None:
                raise UserError(f"{parent} has no snapshot {name}; `rocks list host storagesnap` lists them")
            return found
        image = self._engine.image_of(parent.partition("/")[2])
        if image is not None and image.owner is not None:
            raise StateError(
                f"ZVol {image.zvol} is mapped to {image.owner}, where it changes: unmap it, or name a snapshot of it"
            )
        # the name by which image tools have always known snapshots that a clone hangs on
        return self._pools.ensure_snapshot(parent, fact.guid, f"tmpclone-{zvol}-{secrets.token_hex(4)}", {})


def rounded(size_bytes: int) -> int:
    """Whole blocks, as a volume has them."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def is_importing(volume: VolumeFact) -> bool:
    """Whether its content is not complete."""
    return volume.property_value(IMPORTING) == "yes"


def write_pieces(connection: Connection, device: IO[bytes], volume: VolumeFact) -> Iterator[int]:
    """Write the content to the disk, flushed at times: at its end nothing is sent; yields the end of each part."""
    unflushed_bytes = 0
    for offset, data in map(_offset_of, read_frames(connection.reader)):
        if offset + len(data) > volume.size_bytes:
            raise IncoherentError(f"the content goes beyond the end of {volume.name}")
        device.seek(offset)
        device.write(data)
        unflushed_bytes += len(data)
        if unflushed_bytes >= _FLUSH_BYTES:
            put_on_disk(device)
            unflushed_bytes = 0
        yield offset + len(data)
    put_on_disk(device)


def _offset_of(payload: bytes) -> Tuple[int, bytes]:
    if len(payload) < _OFFSET.size:
        raise IncoherentError("a piece of the import does not state where it belongs")
    return _OFFSET.unpack_from(payload)[0], payload[_OFFSET.size :]


def put_on_disk(device: IO[bytes]) -> None:
    """Flush to the disk and out of memory, so that the next read is from the disk. ToolError when that fails."""
    try:
        number = device.fileno()
    except OSError:
        return  # a device in memory
    try:
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        raise ToolError(f"the import could not be written to the disk: {error.strerror}") from None


def read_digest(device: IO[bytes], size_bytes: int, count: Callable[[int], None]) -> str:
    """The digest (BLAKE2b) of the first bytes of a device; `count` is called with the bytes of each part."""
    digest, left = hashlib.blake2b(), size_bytes
    while left > 0:
        data = device.read(min(_PIECE_BYTES, left))
        if not data:
            raise IncoherentError("the volume ends before its size")
        digest.update(data)
        count(len(data))
        left -= len(data)
    return digest.hexdigest()
