"""A host's copies of images, which are ZFS volumes: received and sent, effects on them, listed and removed."""

from __future__ import annotations

import logging
import ssl
import threading
from contextlib import nullcontext, suppress
from typing import Any, Callable, ContextManager, Dict, List, NamedTuple, Optional, Tuple, Union

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import (
    BusyError,
    Code,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
    ToolError,
)
from rocks.core.values import size_text
from rocks.fleet.wire.codec import encode
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage, Handler
from rocks.storage.host.retained_copies import (
    IsOnNas,
    Reserve,
    RetainedCopy,
    checked_copy,
    created_seconds,
    evict_copies,
    evictable_bytes,
    forget_copy,
    is_proved,
    quarantined_copies,
    report_copy,
    retained_copies,
)
from rocks.storage.image import names
from rocks.storage.image.effects import (
    DiscardChanges,
    LookAtCopy,
    MapLinear,
    MapOverlay,
    PullCopy,
    ReturnCopy,
    SeedCopy,
    SettleBase,
    SwitchOrigin,
)
from rocks.storage.image.image import NOTHING, CopyFact, Facts
from rocks.storage.image.space import (
    CHUNK_BYTES,
    copy_shortage,
    copy_space,
    merged_bytes,
    reserve_bytes,
    temp_write_bytes,
)
from rocks.storage.image.transfers import largest_stream_bytes
from rocks.storage.store.host import HostStore
from rocks.storage.stream.dialogue import CHECK, RETURN, SEED, Source, describe, receive_all, send_all
from rocks.storage.stream.frames import Opening, receive_line, send_error, send_line, write_opening
from rocks.storage.stream.pace import Bucket
from rocks.storage.stream.transport import Connection, RevocationWatch, connect
from rocks.storage.wire.replies import CopyRow
from rocks.storage.zfs.facts import AUTOMATIC_PROPERTY, OUR_PREFIX, SnapshotFact, VolumeFact
from rocks.storage.zfs.pool import PoolDriver


class RunningCopies:
    """Image → its pool, and the bytes that its copy still needs there. Any thread may call it."""

    def __init__(self) -> None:
        self._needs: Dict[str, Tuple[str, int]] = {}
        self._lock = threading.Lock()

    def needed_by_others(self, zvol: str, pool: str) -> int:
        """Bytes in the pool for other copies."""
        others = [
            needed for name, (place, needed) in self._needs.copy().items() if name != zvol and place == pool
        ]
        return sum(others)

    def admit(
        self, zvol: str, pool: str, needed_bytes: int, shortage: Callable[[int], Optional[str]]
    ) -> Optional[str]:
        """The result of `shortage`, which gets `needed_by_others`; when that is None, the copy's need is recorded.

        No other copy is admitted in between, so `shortage` reads no pool: that may hang.
        """
        with self._lock:
            found = shortage(self.needed_by_others(zvol, pool))
            if found is None:
                self._needs[zvol] = pool, needed_bytes
            return found

    def expect(self, zvol: str, pool: str, needed_bytes: int) -> None:
        """The copy was received; these bytes are needed until its `end`."""
        with self._lock:
            self._needs[zvol] = pool, needed_bytes

    def end(self, zvol: str) -> None:
        """The copy is complete and merged, or was interrupted."""
        with self._lock:
            self._needs.pop(zvol, None)


# --- a host's end of transfers: it connects to its NAS, for either direction, and resumes interrupted ones -----------


_log = logging.getLogger(__name__)

_SPACE_SECONDS, _LONGEST_SPACE_SECONDS = 2.0, 30.0
"""Between two looks at the pool's free space while a copy is received."""

_SPACE_PAUSES = 20
"""Pauses as long as the look before: the stream stands still meanwhile, on a slow host for half a second."""


class Place(NamedTuple):
    """The address of a NAS for transfers."""

    nas: str
    address: str
    port: int


class HostTransfers:
    """Transfers snapshots; `context` is called each time, since certificates are renewed while a daemon runs.

    `revocations` ends a transfer with a NAS whose certificate is revoked.
    """

    def __init__(
        self, pools: PoolDriver, context: Callable[[], ssl.SSLContext], revocations: RevocationWatch
    ) -> None:
        self._pools = pools
        self._context = context
        self._revocations = revocations

    def receive(
        self, image: GrantedImage, volume: str, base_guid: str, check_space: Callable[[int, bool], None]
    ) -> None:
        """Receive the snapshot of that guid into `volume`. RocksError when interrupted; the partial receive stays.

        `check_space` is called with the bytes of a stream that are left, before it (True) and while it is received; its
        error ends the transfer.
        """
        opening = write_opening(Opening(SEED, image.image_id, image.epoch, base_guid))
        tally = _Tally()
        next_look, left = monotonic_seconds() + _SPACE_SECONDS, 0

        def begin(stream_bytes: int) -> None:
            nonlocal left
            left = stream_bytes
            check_space(left, True)

        def count(part_bytes: int, total_bytes: int) -> None:
            nonlocal next_look, left
            left = max(0, left - part_bytes)
            tally.count(part_bytes, total_bytes)
            begin_seconds = monotonic_seconds()
            if begin_seconds >= next_look:
                check_space(left, False)
                end_seconds = monotonic_seconds()
                pause = max(_SPACE_SECONDS, _SPACE_PAUSES * (end_seconds - begin_seconds))
                next_look = end_seconds + min(pause, _LONGEST_SPACE_SECONDS)

        with self._connected(image, opening) as connection:
            send_line(connection.writer, describe(self._pools, volume))
            source = Source(image.nas, largest_stream_bytes(image.known.size_bytes), begin)
            receive_all(self._pools, volume, connection.reader, source, count)
        tally.log(volume, "received")
        newest = self._pools.read_history(volume).newest
        if newest is None or newest.guid != base_guid:
            raise IncoherentError(f"{volume} was received, but its newest snapshot is not {base_guid}")

    def send(self, image: GrantedImage, volume: str, name: str) -> str:
        """Send the snapshot to the NAS, which confirms it; returns its guid."""
        snapshot = self._pools.read_history(volume).snapshot(name)
        if snapshot is None:
            raise IncoherentError(f"{volume} has no snapshot {name}, which should be sent to the NAS")
        opening = write_opening(Opening(RETURN, image.image_id, image.epoch, snapshot.guid))
        tally = _Tally()
        with self._connected(image, opening) as connection:
            theirs = receive_line(connection.reader)
            try:
                send_all(self._pools, volume, snapshot.guid, theirs, connection.writer, Bucket(), tally.count)
            except RocksError as error:
                with suppress(OSError):  # the connection may be closed, and that may be the error
                    send_error(connection.writer, error)
                raise
            confirmed = receive_line(connection.reader)
        tally.log(volume, "sent")
        if confirmed.get("received") != snapshot.guid:
            raise IncoherentError(
                f"{image.nas} has received {confirmed.get('received')!r} instead of {snapshot.guid}"
            )
        return snapshot.guid

    def is_on_nas(self, place: Place, image_id: str, epoch: int, guid: str) -> bool:
        """Whether the NAS has that snapshot of the image, as it answers now."""
        opening = write_opening(Opening(CHECK, image_id, epoch, guid))
        context = self._context()
        with connect(context, place.address, place.port, place.nas, opening, self._revocations) as connection:
            return receive_line(connection.reader).get("has") is True

    def _connected(self, image: GrantedImage, opening: bytes) -> ContextManager[Connection]:
        return connect(
            self._context(), image.address, image.stream_port, image.nas, opening, self._revocations
        )


class _Tally:
    """Counts the bytes of one transfer for the log; the NAS reports the progress."""

    def __init__(self) -> None:
        self._bytes = 0
        self._began = monotonic_seconds()

    def count(self, part_bytes: int, total_bytes: int) -> None:
        self._bytes += part_bytes

    def log(self, volume: str, what: str) -> None:
        _log.info("%s: %d bytes %s in %.2f s", volume, self._bytes, what, monotonic_seconds() - self._began)


# --- effects on a host's copy; none touches a guest's device ---------------------------------------------------------


_SUSPENDED = "SUSPENDED"
"""The health of a pool whose disks are gone (zpoolconcepts(7)): what writes to it waits for them."""
_IS_SUSPENDED = "pool I/O is currently suspended"
"""How `zfs` refuses most questions about such a pool (libzfs_util.c of OpenZFS)."""


class CopyHandlers:
    """The handlers of effects on volumes. `host` is the host's name in the cluster.

    `reserve` gives whether an image is unused, so that its copy may be evicted; `is_on_nas` asks the NAS of a copy.
    """

    def __init__(
        self,
        pools: PoolDriver,
        transfers: HostTransfers,
        host: str,
        reserve: Reserve = lambda zvol: nullcontext(False),
        is_on_nas: IsOnNas = lambda copy: False,
    ) -> None:
        self._is_on_nas = is_on_nas
        self._reserve = reserve
        self._pools = pools
        self._transfers = transfers
        self._host = host
        self._running = RunningCopies()
        self.handlers: Dict[Name, Handler] = {
            "ReadCopy": self._read_copy,
            "EnsureQuarantined": self._ensure_quarantined,
            "EnsureTempWrite": self._ensure_temp_write,
            "EnsureTempWriteGone": self._ensure_temp_write_gone,
            "EnsureSeedPlace": self._ensure_seed_place,
            "ReceiveSeed": self._receive_seed,
            "EnsureSeedNamed": self._ensure_seed_named,
            "EnsureSeedSettled": self._ensure_seed_settled,
            "RequireCopyAt": self._require_copy_at,
            "MarkDirty": self._mark_dirty,
            "MarkClean": self._mark_clean,
            "MarkMerged": self._mark_merged,
            "MarkUnchanged": self._mark_unchanged,
            "RequireAllInSnapshot": self._require_all_in_snapshot,
            "SnapshotCopy": self._snapshot_copy,
            "SendSnapshot": self._send_snapshot,
            "AdvanceBase": self._advance_base,
            "RollBack": self._roll_back,
        }

    def _read_copy(self, request: LookAtCopy, image: GrantedImage) -> Facts:
        """Read the state of the image's copy. Facts: copy."""
        known = image.known
        if request.pool is None:
            return Facts(copy=CopyFact(known.stage, known.epoch))
        pool = self._pools.read_pool(request.pool)
        volume = self._pools.read_volume(_volume(image))
        newest = None if volume is None else self._pools.read_history(volume.name).newest
        written = 0
        if volume is not None:
            written = volume.written_bytes
            if newest is not None:
                written = self._pools.written_since(volume.name, newest.name, newest.guid)
        temp_write = self._pools.read_volume(_temp_write(image))
        copy = CopyFact(
            stage=known.stage,
            epoch=known.epoch,
            exists=volume is not None,
            guid=None if newest is None else newest.guid,
            written_bytes=written,
            size_bytes=0 if volume is None else volume.size_bytes,
            has_temp_write=temp_write is not None,
            free_bytes=pool.free_bytes
            + evictable_bytes(self._pools, image.pool, image.evictable, self._is_on_nas),
            pool_bytes=pool.size_bytes,
        )
        return Facts(copy=copy)

    # --- remains of an earlier epoch, and the temp-write volume

    def _ensure_quarantined(self, request: object, image: GrantedImage) -> Facts:
        """Copy, temp-write volume and seed of an earlier epoch are renamed to names in quarantine."""
        epoch = image.known.epoch
        self._settle_seed(image)
        for name in (_volume(image), _temp_write(image)):
            volume = self._pools.read_volume(name)
            if volume is not None:
                self._pools.ensure_renamed(name, volume.guid, self._free_quarantine_name(name, epoch))
        return NOTHING

    def _free_quarantine_name(self, name: str, epoch: int) -> str:
        """An unused name: a host that has lost its record may have quarantined a volume under this epoch before."""
        first = name_in_quarantine = names.quarantine_volume(name, epoch)
        number = 2
        while self._pools.read_volume(name_in_quarantine) is not None:
            name_in_quarantine, number = f"{first}-{number}", number + 1
        return name_in_quarantine

    def _ensure_temp_write(self, request: MapOverlay, image: GrantedImage) -> Facts:
        """The temp-write volume is there; a missing one is made, empty.

        First `needed_bytes` are freed in the pool, by evicting copies of other images if necessary.
        """
        name = _temp_write(image)
        if self._pools.read_volume(name) is None:
            # only before the first reservation, which reduces the free space
            self._evict(request.needed_bytes, image)
        self._pools.ensure_volume(
            name,
            temp_write_bytes(image.known.size_bytes),
            CHUNK_BYTES,  # so that writing a chunk needs no read
            # device-mapper treats a pool without free space as a full device, which must not happen
            reserve_bytes(image.known.size_bytes),
            _properties(image, name, size=str(image.known.size_bytes)),
        )
        return NOTHING

    def _ensure_temp_write_gone(self, request: object, image: GrantedImage) -> Facts:
        """No temp-write volume."""
        name = _temp_write(image)
        volume = self._pools.read_volume(name)
        if volume is not None:
            self._pools.ensure_volume_gone(name, volume.guid, may_lose_bytes=None)
        self._running.end(image.zvol)
        return NOTHING

    # --- the seed

    def _ensure_seed_place(self, request: SeedCopy, image: GrantedImage) -> Facts:
        """An older copy is renamed to the seed volume, to be updated there."""
        copy, seed = self._pools.read_volume(_volume(image)), self._pools.read_volume(_seed(image))
        if copy is None or self._has_newest(copy.name, request.base_guid):
            return NOTHING
        if seed is not None:
            raise IncoherentError(
                f"{copy.name} and {seed.name} are both copies of {image.zvol}; compare them by `zfs list -t all`"
            )
        self._pools.ensure_renamed(copy.name, copy.guid, _seed(image))
        return NOTHING

    def _receive_seed(self, request: SeedCopy, image: GrantedImage) -> Facts:
        """The seed volume has the base: received from the newest common snapshot, or resumed from a token."""
        if not self._has_newest(_volume(image), request.base_guid) and not self._has_newest(
            _seed(image), request.base_guid
        ):
            try:
                self._transfers.receive(
                    image,
                    _seed(image),
                    request.base_guid,
                    lambda left_bytes, begins: self._ensure_copy_space(image, left_bytes, begins),
                )
            except BaseException:
                self._running.end(image.zvol)
                raise
            # its merge comes later, and ends when the temp-write volume is gone
            self._running.expect(image.zvol, image.pool, self._merge_bytes(image))
        return NOTHING

    def _ensure_copy_space(self, image: GrantedImage, left_bytes: int, begins: bool) -> None:
        """Evict copies of other images if necessary. PoolFullError when that does not suffice.

        A copy that begins leaves to the running ones what they still need: all would stop, and none could continue.
        """
        zvol, pool, merge_bytes = image.zvol, image.pool, self._merge_bytes(image)
        stream_bytes = left_bytes if begins else 0
        fact = self._pools.read_pool(pool)

        def shortage(others_bytes: int) -> Optional[str]:
            free_bytes = fact.free_bytes - (others_bytes if begins else 0)
            text = copy_shortage(max(free_bytes, 0), fact.size_bytes, merge_bytes, stream_bytes)
            if text is None or not begins or not others_bytes:
                return text
            return f"{text}, besides {size_text(others_bytes)} for copies that are being received"

        needed_bytes = copy_space(0, merge_bytes, left_bytes)
        if self._running.admit(zvol, pool, needed_bytes, shortage) is None:
            return
        others_bytes = self._running.needed_by_others(zvol, pool) if begins else 0
        self._evict(copy_space(fact.size_bytes, merge_bytes, stream_bytes) + others_bytes, image)
        fact = self._pools.read_pool(pool)
        text = self._running.admit(zvol, pool, needed_bytes, shortage)
        if text is not None:
            if begins and shortage(0) is not None:
                # not for other copies alone: guests of local images wait for the space of what was received before
                self._try_to_drop_partial(_seed(image))
            raise PoolFullError(f"{zvol} is not copied to {self._host}: {text}")

    def _try_to_drop_partial(self, seed: str) -> None:
        """Another time when it fails, as while a receive is ending: that the pool is full is the error to report."""
        try:
            self._pools.ensure_partial_gone(seed)
        except RocksError as error:
            _log.warning("what was received of %s stays: %s", seed, error)

    def _merge_bytes(self, image: GrantedImage) -> int:
        temp_write = self._pools.read_volume(_temp_write(image))
        return merged_bytes(image.known.size_bytes, temp_write.referenced_bytes if temp_write else 0)

    def _evict(self, needed_bytes: int, image: GrantedImage) -> None:
        evict_copies(self._pools, image.pool, needed_bytes, image.evictable, self._reserve, self._is_on_nas)

    def _ensure_seed_named(self, request: SeedCopy, image: GrantedImage) -> Facts:
        """The received copy, whose newest snapshot is the base and is held, has the copy's name. Facts: guid."""
        name = _volume(image)
        if self._pools.read_volume(name) is None:
            self._require_newest(_seed(image), request.base_guid)
            self._pools.ensure_renamed(_seed(image), self._fact(_seed(image)).guid, name)
        newest = self._require_newest(name, request.base_guid)
        self._pools.ensure_hold(name, newest.name, newest.guid, names.HOLD_TAG)
        self._write_properties(name, "clean", newest.guid, image)
        return Facts(guid=newest.guid)

    def _ensure_seed_settled(self, request: object, image: GrantedImage) -> Facts:
        """No partial receive is left: a complete copy has its name back."""
        self._settle_seed(image)
        return NOTHING

    def _settle_seed(self, image: GrantedImage) -> None:
        """A complete copy that was renamed to be updated gets its name back; a partial first copy is destroyed."""
        name = _seed(image)
        if self._pools.read_volume(name) is None:
            return
        self._pools.ensure_partial_gone(name)
        whole = self._pools.read_volume(name)
        if whole is not None:
            self._pools.ensure_renamed(name, whole.guid, _volume(image))

    # --- write changes back

    def _require_copy_at(self, request: Union[MapLinear, SwitchOrigin], image: GrantedImage) -> Facts:
        """The copy's newest snapshot is the base, and nothing was written since; IncoherentError otherwise.

        Facts: guid.
        """
        size_bytes = self._fact(_volume(image)).size_bytes
        if size_bytes < image.known.size_bytes:
            raise IncoherentError(
                f"{_volume(image)} has {size_text(size_bytes)} and its image {size_text(image.known.size_bytes)}: "
                "the copy is of the time before the image has grown"
            )
        newest = self._require_newest(_volume(image), request.base_guid)
        written = self._pools.written_since(_volume(image), newest.name, newest.guid)
        if written:
            raise IncoherentError(
                f"{_volume(image)} has {written} bytes written since {newest.name}, which the NAS does not have"
            )
        return Facts(guid=newest.guid)

    def _mark_dirty(self, request: Union[MapLinear, SwitchOrigin], image: GrantedImage) -> Facts:
        """The copy's properties say that it has changes on top of the base."""
        self._write_properties(_volume(image), "dirty", request.base_guid, image)
        return NOTHING

    def _mark_clean(self, request: object, image: GrantedImage) -> Facts:
        """The copy's properties say that it equals its newest snapshot."""
        self._write_properties(_volume(image), "clean", self._newest(_volume(image)).guid, image)
        return NOTHING

    def _mark_merged(self, request: object, image: GrantedImage) -> Facts:
        """The copy's properties say that what the guest wrote in this epoch is merged into it."""
        # an image of the same name may have had the copy in an epoch of the same number
        name, merged = _volume(image), names.unit_serial(image.image_id, image.epoch)
        self._pools.ensure_properties(name, self._fact(name).guid, {f"{OUR_PREFIX}merged": merged})
        return NOTHING

    def _mark_unchanged(self, request: object, image: GrantedImage) -> Facts:
        """A copy that was marked as dirty, and not written to, is marked as clean.

        Without its pool nothing is done.
        """
        name, base_guid = _volume(image), f"{OUR_PREFIX}base_guid"
        try:
            health = self._pools.read_pool(image.pool).health
            volume = self._pools.read_volume(name)
        except (StateError, ToolError) as error:
            if isinstance(error, ToolError) and _IS_SUSPENDED not in str(error):
                raise
            # without the pool the map ends all the same: no other host waits for it
            _log.error("%s stays marked as changed until its next map: %s", name, error)
            return NOTHING
        if health == _SUSPENDED:
            _log.error("%s stays marked as changed until its next map: its pool is %s", name, health)
            return NOTHING
        newest = self._pools.read_history(name).newest
        is_at_base = volume and newest and volume.property_value(base_guid) == newest.guid
        if newest and is_at_base and not self._pools.written_since(name, newest.name, newest.guid):
            self._write_properties(name, "clean", newest.guid, image)
        return NOTHING

    def _require_all_in_snapshot(self, request: ReturnCopy, image: GrantedImage) -> Facts:
        """Nothing was written to the copy since the request's snapshot, if there is one; IncoherentError otherwise."""
        name = _volume(image)
        final = self._pools.read_history(name).snapshot(request.name)
        written = 0 if final is None else self._pools.written_since(name, final.name, final.guid)
        if written:
            text = f"{name} has {written} bytes written since its final snapshot {request.name}"
            raise IncoherentError(text, code=Code.HOST_AHEAD)
        return NOTHING

    def _snapshot_copy(self, request: Union[PullCopy, ReturnCopy], image: GrantedImage) -> Facts:
        """The request's snapshot is there, held; it includes all earlier writes of the guest."""
        volume = self._fact(_volume(image))
        taken = self._pools.ensure_snapshot(volume.name, volume.guid, request.name, AUTOMATIC_PROPERTY)
        self._pools.ensure_hold(volume.name, taken.name, taken.guid, names.HOLD_TAG)
        return Facts(guid=taken.guid)

    def _send_snapshot(self, request: Union[PullCopy, ReturnCopy], image: GrantedImage) -> Facts:
        """The NAS has received, held and confirmed the snapshot. Facts: guid."""
        return Facts(guid=self._transfers.send(image, _volume(image), request.name))

    def _advance_base(self, request: Union[SettleBase, ReturnCopy], image: GrantedImage) -> Facts:
        """The snapshot is the base: it has cursor and hold before older ones and automatic snapshots are removed."""
        name = _volume(image)
        history = self._pools.read_history(name)
        base = history.snapshot(request.name)
        if base is None:
            raise StateError(f"{name} has no snapshot {request.name}, which should become its base")
        cursor = names.cursor_bookmark(base.guid, self._host)
        self._pools.ensure_hold(name, base.name, base.guid, names.HOLD_TAG)
        self._pools.ensure_bookmark(name, base.name, base.guid, cursor)
        for bookmark in history.bookmarks:
            if bookmark.name.startswith("imgstore_CURSOR_G_") and bookmark.name != cursor:
                self._pools.ensure_bookmark_gone(name, bookmark.name, bookmark.guid)
        for older in history.snapshots:
            if older.createtxg < base.createtxg:
                self._drop_automatic(name, older)
        self._write_properties(name, "dirty", base.guid, image)
        return Facts(guid=base.guid)

    def _drop_automatic(self, name: str, snapshot: SnapshotFact) -> None:
        self._pools.ensure_released(name, snapshot.name, snapshot.guid, names.HOLD_TAG)
        others = [tag for tag in snapshot.holds if tag != names.HOLD_TAG]
        # by its name as well: a stream has no property that marks automatic snapshots
        is_ours = snapshot.is_automatic or names.has_automatic_name(snapshot.name)
        if is_ours and not others and not snapshot.clones:
            self._pools.ensure_snapshot_gone(name, snapshot.name, snapshot.guid)

    def _roll_back(self, request: DiscardChanges, image: GrantedImage) -> Facts:
        """The copy has the content of the base, which is held, and no later snapshot.

        That of a pull that was cut is discarded, too.
        """
        name = _volume(image)
        history = self._pools.read_history(name)
        base = history.of_guid(request.base_guid)
        for later in history.snapshots:
            if base is not None and later.createtxg > base.createtxg:
                self._drop_automatic(name, later)
        newest = self._require_newest(name, request.base_guid)
        self._pools.ensure_rolled_back(name, self._fact(name).guid, newest.name, newest.guid)
        return Facts(guid=newest.guid)

    # --- helpers

    def _write_properties(self, name: str, kind: str, guid: str, image: GrantedImage) -> None:
        values = _properties(image, name, copy=kind, base_guid=guid)
        self._pools.ensure_properties(name, self._fact(name).guid, values)

    def _fact(self, name: str) -> VolumeFact:
        volume = self._pools.read_volume(name)
        if volume is None:
            raise StateError(f"{self._host} has no volume {name}")
        return volume

    def _newest(self, name: str) -> SnapshotFact:
        newest = self._pools.read_history(name).newest
        if newest is None:
            raise IncoherentError(f"{name} has no snapshot, but needs one that the NAS has")
        return newest

    def _has_newest(self, name: str, guid: str) -> bool:
        newest: Optional[SnapshotFact] = self._pools.read_history(name).newest
        return newest is not None and newest.guid == guid

    def _require_newest(self, name: str, guid: str) -> SnapshotFact:
        newest = self._newest(name)
        if newest.guid != guid:
            raise IncoherentError(
                f"the newest snapshot of {name} is {newest.name} ({newest.guid}), not the one of {guid}"
            )
        return newest


def _properties(image: GrantedImage, name: str, **more: str) -> Dict[str, str]:
    """The properties that identify the image to a host that has lost its records, and more.

    With the pool: a replica of it bears the same properties in another one.
    """
    values = dict(more, epoch=str(image.epoch), id=image.image_id, nas=image.nas, volume=image.volume)
    values["pool"] = name.partition("/")[0]
    return {f"{OUR_PREFIX}{key}": value for key, value in values.items()}


def _volume(image: GrantedImage) -> str:
    return f"{image.pool}/{image.zvol}"


def _temp_write(image: GrantedImage) -> str:
    return names.temp_write_volume(image.pool, image.zvol)


def _seed(image: GrantedImage) -> str:
    return names.seed_volume(image.pool, image.zvol)


# --- volumes that no guest uses: listed, removed by a command, and proved by their NASes -----------------------------


_REASONS = {
    "clean": "retained: its NAS had all of it when it was written back",
    "dirty": "has changes that its NAS may not have",
    "suspect": "was changed after it was written back",
    "quarantined": "quarantined: it was given up, or another copy took its place",
}


class StoredCopies:
    """The copies of a host. `reserve` gives whether an image is unused."""

    def __init__(
        self,
        store: HostStore,
        pools: PoolDriver,
        own_pool: str,
        transfers: HostTransfers,
        reserve: Reserve,
    ) -> None:
        self._store = store
        self._pools = pools
        self._own_pool = own_pool
        self._transfers = transfers
        self._reserve = reserve

    def rows(self) -> List[Dict[str, Any]]:
        """Every copy that no guest uses, by name: size, time of its newest snapshot, and why it is here."""
        return [
            encode(
                CopyRow(
                    f"{copy.pool}/{copy.zvol}",
                    copy.kind,
                    copy.nas,
                    copy.used_bytes,
                    created_seconds(self._pools, copy),
                    _REASONS[copy.kind],
                )
            )
            for copy in self._copies()
        ]

    def remove(self, volume: str, force: bool) -> None:
        """Destroy a copy. StateError when there is no such copy, or, without `force`, its NAS does not have all of it.

        BusyError when its image is in use, or was a moment ago.
        """
        copy = next((one for one in self._copies() if f"{one.pool}/{one.zvol}" == volume), None)
        if copy is None:
            raise StateError(
                f"this host has no unused copy {volume}; `rocks list host storagecopy` lists the copies"
            )
        with self._reserve(copy.zvol) as is_idle:
            if not is_idle:
                raise BusyError(
                    f"the image of {volume} is in use, or was a moment ago; repeat the command later"
                )
            if not force and not is_proved(self._pools, copy, self.is_on_nas):
                known = copy.nas or "its NAS is unknown and"
                raise StateError(
                    f"{volume} is not destroyed: {known} does not confirm that it has all of it "
                    f"({_REASONS[copy.kind]}); force=yes destroys it all the same"
                )
            forget_copy(self._pools, copy.pool, copy.zvol, None if force else 0)
            if copy.kind != "quarantined" and self._store.copy(copy.zvol) is not None:
                # the NAS need not wait for changes that are no more
                report_copy(self._store, copy, "none", None)
        _log.warning("%s was destroyed by a command%s", volume, " (forced)" if force else "")

    def is_on_nas(self, copy: RetainedCopy) -> bool:
        """Whether the copy's NAS has its snapshot, asked now. False when it does not answer, or is older."""
        place = self._place_of(copy.nas)
        if place is None or copy.guid is None:
            return False
        try:
            return self._transfers.is_on_nas(place, copy.image_id, copy.epoch, copy.guid)
        except RocksError as error:
            _log.warning("%s/%s stays: %s", copy.pool, copy.zvol, error)
            return False

    def _copies(self) -> Tuple[RetainedCopy, ...]:
        used = {copy.known.zvol for copy in self._store.copies() if copy.known.stage != "none"}
        pools = {self._own_pool, *(copy.known.pool for copy in self._store.copies() if copy.known.pool)}
        found: List[RetainedCopy] = []
        for pool in sorted(pools):
            retained = [copy for copy in retained_copies(self._pools, pool) if copy.zvol not in used]
            found += [checked_copy(self._pools, copy) for copy in retained]
            found += quarantined_copies(self._pools, pool)
        return tuple(sorted(found, key=lambda copy: (copy.pool, copy.zvol)))

    def _place_of(self, nas: str) -> Optional[Place]:
        for copy in self._store.copies():
            details = copy.details
            if nas and details.get("nas") == nas and details.get("address") and details.get("stream_port"):
                return Place(nas, str(details["address"]), int(details["stream_port"]))
        return None
