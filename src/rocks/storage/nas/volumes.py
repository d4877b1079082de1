"""The volumes of a NAS: effects on them (made, granted, restored, grown, destroyed), and new ones."""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple, Type, cast

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError, StateError, ToolError, UserError
from rocks.core.values import size_text
from rocks.storage.image import effects
from rocks.storage.image.effects import Grant
from rocks.storage.image.grants import grant_properties, read_grant, why_not_destroyed, why_refused
from rocks.storage.image.image import NOTHING, Facts
from rocks.storage.image.names import HOLD_TAG
from rocks.storage.image.space import nas_shortage
from rocks.storage.image.states import DELETING
from rocks.storage.limits import BLOCK_BYTES, DEVICE_SECONDS
from rocks.storage.nas.engine import NasContext
from rocks.storage.stream.frames import Opening, alive_reporter, read_frames, receive_line, send_line
from rocks.storage.stream.pace import Meter
from rocks.storage.stream.transport import Connection
from rocks.storage.wire.names import is_base, read_tag
from rocks.storage.wire.requests import AddZvol
from rocks.storage.zfs.facts import OUR_PREFIX, PoolFact, SnapshotFact, VolumeFact
from rocks.storage.zfs.pool import PoolDriver

NAS_POOL = f"{OUR_PREFIX}nas_pool"
"""Which pool of the NAS the image is in, with its grant: a replica of the pool names it too."""


class VolumeHandlers:
    """The handlers of effects on volumes."""

    def __init__(self, pools: PoolDriver) -> None:
        self._pools = pools
        self.handlers: Dict[Type[object], Callable[..., Facts]] = {
            effects.EnsureVolume: self._ensure_volume,
            effects.EnsureGrant: self._ensure_grant,
            effects.ReadObstacles: self._read_obstacles,
            effects.EnsureVolumeGone: self._ensure_volume_gone,
            effects.EnsureClone: self._ensure_clone,
            effects.EnsureRestored: self._ensure_restored,
            effects.EnsureSize: self._ensure_size,
        }

    def _ensure_volume(self, effect: effects.EnsureVolume) -> Facts:
        found = self._pools.read_volume(effect.volume)
        pool = self._pools.read_pool(effect.volume.partition("/")[0])
        if effect.guid is not None:
            check_identity(effect.volume, found, effect.guid)
        if found is None:
            if effect.size_bytes <= 0:
                raise StateError(
                    f"the volume {effect.volume} does not exist and the request has no size for a new one"
                )
            # before there is a volume that no host gets
            check_pool_space(f"the volume {effect.volume} is not made", pool, effect.size_bytes)
            self._pools.ensure_volume(effect.volume, effect.size_bytes, BLOCK_BYTES)
        volume = needed_volume(self._pools, effect.volume)
        return Facts(
            size_bytes=volume.size_bytes,
            volume_guid=volume.guid,
            free_bytes=pool.free_bytes,
            pool_bytes=pool.size_bytes,
        )

    def _ensure_grant(self, effect: effects.EnsureGrant) -> Facts:
        found = self._pools.read_volume(effect.volume)
        if is_not_ours(found, effect.only_on) or (found is None and effect.owner is None):
            return NOTHING
        volume = needed_volume(self._pools, effect.volume)
        reason = why_refused(effect, standing_grant(volume))
        if reason is not None:
            raise IncoherentError(f"{effect.volume}: {reason}")
        named = {f"{OUR_PREFIX}{key}": value for key, value in grant_properties(effect).items()}
        named[NAS_POOL] = effect.volume.partition("/")[0]
        self._pools.ensure_properties(effect.volume, volume.guid, named)
        return NOTHING

    # --- deletion and restore

    def _read_obstacles(self, effect: effects.ReadObstacles) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return Facts(obstacles=())
        obstacles = []
        for snapshot in self._pools.read_history(effect.volume).snapshots:
            obstacles += [f"{clone} is a clone of {snapshot.name}" for clone in snapshot.clones]
            obstacles += holders(snapshot)
        return Facts(obstacles=tuple(obstacles), volume_guid=volume.guid)

    def _ensure_volume_gone(self, effect: effects.EnsureVolumeGone) -> Facts:
        volume = self._pools.read_volume(effect.volume)
        if volume is None:
            return NOTHING
        if volume.guid != effect.guid:
            raise IncoherentError(
                f"{effect.volume} is a new volume since its destruction was requested; it is not destroyed"
            )
        reason = why_not_destroyed(effect, standing_grant(volume))
        if reason is not None:
            raise IncoherentError(f"{effect.volume} is not destroyed: {reason}")
        snapshots = self._pools.read_history(effect.volume).snapshots
        for snapshot in snapshots:
            self._pools.ensure_released(effect.volume, snapshot.name, snapshot.guid, HOLD_TAG)
        named = [(snapshot.name, snapshot.guid) for snapshot in snapshots]
        self._pools.ensure_volume_gone(effect.volume, effect.guid, named, may_lose_bytes=None)
        return NOTHING

    def _ensure_clone(self, effect: effects.EnsureClone) -> Facts:
        snapshot = f"{effect.volume}@{effect.snapshot}"
        self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
        return NOTHING

    def _ensure_restored(self, effect: effects.EnsureRestored) -> Facts:
        former = self._pools.read_volume(effect.former)
        if former is None:
            check_identity(effect.volume, self._pools.read_volume(effect.volume), effect.original_guid)
            self._promote(effect)
            self._pools.ensure_renamed(effect.volume, effect.original_guid, effect.former)
        else:
            check_identity(effect.former, former, effect.original_guid)
        clone = self._pools.read_volume(effect.beside)
        if clone is not None:
            self._require_restored(effect, effect.beside)
            self._pools.ensure_renamed(effect.beside, clone.guid, effect.volume)
        self._require_restored(effect, effect.volume)
        return Facts(volume_guid=needed_volume(self._pools, effect.volume).guid)

    def _promote(self, effect: effects.EnsureRestored) -> None:
        """Move the snapshot from the volume to its clone."""
        if self._pools.read_history(effect.beside).of_guid(effect.guid) is None:
            snapshot = f"{effect.volume}@{effect.snapshot}"
            self._pools.ensure_clones({effect.beside: snapshot}, {snapshot: effect.guid}, {})
            self._pools.ensure_promoted(effect.beside, needed_volume(self._pools, effect.beside).guid)

    def _require_restored(self, effect: effects.EnsureRestored, name: str) -> None:
        if self._pools.read_history(name).of_guid(effect.guid) is None:
            raise IncoherentError(
                f"{name} has no snapshot of guid {effect.guid}, which is being restored; the former volume is "
                f"{effect.former}"
            )

    # --- growth

    def _ensure_size(self, effect: effects.EnsureSize) -> Facts:
        volume = needed_volume(self._pools, effect.volume)
        if effect.guid is not None:
            check_identity(effect.volume, volume, effect.guid)
        owner = standing_grant(volume).owner
        if owner is not None:  # the record was restored from an older copy, and is not compared yet
            raise IncoherentError(
                f"the volume {effect.volume} does not grow: it says that {owner} has it, and the NAS's records that no "
                "host has; rocks list host storagemap shows the image as blocked as soon as they are compared"
            )
        size_bytes = -(-effect.size_bytes // volume.block_bytes) * volume.block_bytes
        if volume.size_bytes > size_bytes:
            raise StateError(
                f"the volume {effect.volume} has {size_text(volume.size_bytes)}, more than {size_text(size_bytes)}, "
                "and does not shrink"
            )
        if volume.size_bytes < size_bytes:
            pool = self._pools.read_pool(effect.volume.partition("/")[0])
            check_pool_space(f"the volume {effect.volume} does not grow", pool, size_bytes)
            self._pools.ensure_size(effect.volume, volume.guid, size_bytes)
        return Facts(size_bytes=size_bytes, volume_guid=volume.guid)


def needed_volume(pools: PoolDriver, name: str) -> VolumeFact:
    """The volume. StateError when it does not exist."""
    volume = pools.read_volume(name)
    if volume is None:
        raise StateError(
            f"the volume {name} does not exist; `zfs list -t volume` on the NAS lists the volumes"
        )
    return volume


def check_pool_space(outcome: str, pool: PoolFact, size_bytes: int) -> None:
    """StateError, which begins with the outcome, when the pool has no space for the changes of such a volume."""
    shortage = nas_shortage(pool.free_bytes, pool.size_bytes, size_bytes)
    if shortage is not None:
        raise StateError(f"{outcome}: {shortage}")


def standing_grant(volume: VolumeFact) -> Grant:
    """The grant in a volume's properties."""
    cut = len(OUR_PREFIX)
    return read_grant({key[cut:]: value for key, value in volume.properties if key.startswith(OUR_PREFIX)})


def holders(snapshot: SnapshotFact) -> List[str]:
    """Who holds the snapshot, other than the image storage itself."""
    held = {hold: read_tag(hold) for hold in snapshot.holds if hold != HOLD_TAG}
    names = dict.fromkeys(tag.snapshot for tag in held.values() if tag is not None)
    return [
        *(
            f'it is part of the snapshot "{name}" of its machine: rocks remove host vm snapshot MACHINE "{name}"'
            for name in names
        ),
        *(f"{snapshot.name} is held by {hold}" for hold, tag in held.items() if tag is None),
    ]


def is_not_ours(found: Optional[VolumeFact], only_on: Optional[str]) -> bool:
    return only_on is not None and (found is None or found.guid != only_on)


def check_identity(name: str, found: Optional[VolumeFact], guid: str) -> None:
    """StateError without the volume of an image in use, IncoherentError when another has its name."""
    if found is None:
        raise StateError(
            f"the volume {name} (guid {guid}) does not exist, and no empty one replaces it. Find it on the NAS "
            "by `zfs list -t volume -o name,guid` and restore its name by `zfs rename`; if it is lost, run "
            "`rocks remove host storageimg`"
        )
    if found.guid != guid:
        raise IncoherentError(
            f"{name} has the guid {found.guid}, but the image's volume has {guid}: another volume has its name; "
            "restore the names by `zfs rename` on the NAS"
        )


# --- new volumes: empty ones, clones and imports ---------------------------------------------------------------------


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
            check_pool_space(outcome, pool._replace(free_bytes=free_bytes), size_bytes)
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
