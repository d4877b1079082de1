"""Moves of images from one NAS to another: both ends.

Every attempt begins with what the other NAS has, so an interrupted one goes on.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import (
    IO,
    Any,
    Callable,
    Collection,
    ContextManager,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Set,
    Tuple,
    Union,
)

from rocks.core.clock import Deadline, monotonic_seconds, wait_seconds
from rocks.core.errors import (
    BusyError,
    HostError,
    IncoherentError,
    PoolFullError,
    RocksError,
    StateError,
    UserError,
)
from rocks.core.values import size_text
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.storage.image import effects, names
from rocks.storage.image.effects import Effect, HandOver, SendToNas
from rocks.storage.image.events import EffectDone, EffectFailed
from rocks.storage.image.image import Copy, Facts, Image, Work
from rocks.storage.image.states import MOVING
from rocks.storage.image.transfers import largest_move_bytes
from rocks.storage.limits import DEVICE_SECONDS
from rocks.storage.nas.attribute_rules import attribute_value, bytes_per_second
from rocks.storage.nas.engine import AGAIN_SECONDS, NasContext, Perform, failed_effect
from rocks.storage.nas.listing import ARRIVING
from rocks.storage.nas.sequences import grant_now
from rocks.storage.nas.volumes import OpenDevice, put_on_disk, read_digest
from rocks.storage.store.nas import ATTRIBUTES, Arrival
from rocks.storage.stream.dialogue import HAND_OVER, MOVE, Source, describe, points_of, receive_all, send_all
from rocks.storage.stream.frames import (
    Opening,
    alive_reporter,
    number,
    receive_line,
    send_line,
    write_opening,
)
from rocks.storage.stream.pace import Bucket, Meter
from rocks.storage.stream.transport import Connection
from rocks.storage.wire.replies import OperationRow
from rocks.storage.wire.requests import AcceptZvol
from rocks.storage.zfs.facts import SnapshotFact, VolumeFact


def is_same_content(connection: Connection, device: IO[bytes], size_bytes: int) -> bool:
    """Whether this device and that of the other end, which calls this too, have the same size and content.

    Both read all of it at the same time. HostError when the connection ends.
    """
    put_on_disk(device)
    digest = read_digest(device, size_bytes, alive_reporter(connection.writer))
    send_line(connection.writer, {"digest": digest, "size_bytes": size_bytes})
    while True:
        theirs = receive_line(connection.reader)
        if "digest" in theirs:
            return (theirs["digest"], theirs.get("size_bytes")) == (digest, size_bytes)


# --- the sending end: it connects, sends all snapshots, and hands the image over -------------------------------------


_log = logging.getLogger(__name__)
MOVES_AT_ONCE = 2

Connect = Callable[[str, bytes], ContextManager[Connection]]
"""A connection to the NAS of that name, with its first line. HostError, IncoherentError as `transport.connect`."""

_Key = Tuple[str, str, int]
"""Image, number of the work, position in it."""


class _Running:
    """An effect under way; `end` ends its connection, now or as soon as there is one."""

    def __init__(self) -> None:
        self._connection: Optional[Connection] = None
        self._is_ended = False
        self._lock = threading.Lock()
        self.bucket = Bucket()

    def connected(self, connection: Connection) -> None:
        """HostError when it is to end."""
        with self._lock:
            self._connection = connection
            if self._is_ended:
                raise HostError(f"the transfer with {connection.peer} was ended")

    def end(self) -> None:
        """End it; repeating that is harmless."""
        with self._lock:
            self._is_ended = True
            connection = self._connection
        self.bucket.end()
        if connection is not None:
            connection.end()


class Moves:
    """Performs the effects between NASes in threads of its own, and reports them to the engine."""

    def __init__(self, context: NasContext, open_device: OpenDevice, connect: Connect) -> None:
        self._pools, self._engine, self._store, self._progress = context
        self._open_device = open_device
        self._connect = connect
        self._running: Dict[_Key, _Running] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(MOVES_AT_ONCE, thread_name_prefix="move")

    def begin(self, image: Image, work: Work, effect: Effect) -> None:
        """Begin an effect, unless it is under way."""
        key = (image.image_id, work.work_id, work.position)
        with self._lock:
            if key in self._running:
                return
            running = self._running[key] = _Running()
        try:
            self._workers.submit(self._run, key, running, image, effect)
        except RuntimeError:
            pass  # the daemon is ending; the effect is performed at its next start

    def end_overtaken(self, image_id: str) -> None:
        """The image has changed: end its transfers that are no longer open."""
        with self._lock:
            found = [(key, running) for key, running in self._running.items() if key[0] == image_id]
        for key, running in found:
            if not self._is_open(key):
                running.end()

    def close(self) -> None:
        """End all transfers; they go on at the next start."""
        with self._lock:
            found = list(self._running.values())
        for running in found:
            running.end()
        self._workers.shutdown(wait=True)

    def _run(self, key: _Key, running: _Running, image: Image, effect: Effect) -> None:
        assert image.work is not None
        result: Union[EffectDone, EffectFailed, None] = None
        try:
            if self._is_open(key):
                result = EffectDone(key[1], key[2], self._perform(running, image, effect))
        except OSError as error:
            cut = HostError(f"the transfer was cut off: {error}")
            result = failed_effect(image, image.work, effect, cut)
        except Exception as error:  # noqa: BLE001 - reported, and the image blocked, instead of ending the worker
            result = failed_effect(image, image.work, effect, error)
        finally:
            with self._lock:
                del self._running[key]
            self._progress.end(image.image_id)
        if result is not None:
            self._record(image, result)

    def _record(self, image: Image, result: Union[EffectDone, EffectFailed]) -> None:
        """Without a record the effect is begun again: the other NAS has what was sent."""
        try:
            self._engine.take(image.image_id, result)
        except Exception:  # noqa: BLE001 - nobody reads what a worker raises
            _log.exception(
                "the end of a move of %s was not recorded; the step is performed again", image.zvol
            )
            later = threading.Timer(AGAIN_SECONDS, self._engine.wake, (image.image_id,))
            later.daemon = True
            later.start()

    def _is_open(self, key: _Key) -> bool:
        image = self._engine.image(key[0])
        work = None if image is None or image.state != MOVING else image.work
        return work is not None and (work.work_id, work.position) == key[1:]

    def _perform(self, running: _Running, image: Image, effect: Effect) -> Facts:
        assert image.work is not None
        if isinstance(effect, HandOver):
            opening = Opening(HAND_OVER, image.image_id, image.epoch, effect.guid)
            with self._connect(effect.nas, write_opening(opening)) as connection:
                running.connected(connection)
                self._hand_over(connection, image)
            return Facts(guid=effect.guid)
        assert isinstance(effect, SendToNas)
        guid, size_bytes = image.work.facts.base_guid or "", image.work.facts.size_bytes or 0
        opening = Opening(MOVE, image.image_id, image.epoch, guid)
        with self._connect(effect.nas, write_opening(opening)) as connection:
            running.connected(connection)
            if receive_line(connection.reader).get("taken") is not True:
                self._send_snapshots(running, connection, image, guid)
                self._compare(connection, image, size_bytes, guid)
        return Facts(guid=guid)

    def _send_snapshots(self, running: _Running, connection: Connection, image: Image, guid: str) -> None:
        snapshots = self._up_to(image.volume, guid)
        total = sum(_size(snapshots, one) for one in snapshots)
        send_line(connection.writer, {"guids": [one.guid for one in snapshots], "bytes": total})
        meter: Optional[Meter] = None

        def count(part_bytes: int, total_bytes: int) -> None:
            assert meter is not None
            running.bucket.set_rate(self._rate(image.zvol))
            progress = meter.add(part_bytes, monotonic_seconds())
            self._progress.report(image.image_id, progress)

        while True:
            theirs = receive_line(connection.reader)
            there = {point.guid for point in points_of(theirs)}
            missing = [one for one in snapshots if one.guid not in there]
            if not missing:
                send_line(connection.writer, {"complete": True})
                return
            meter = meter or Meter(sum(_size(snapshots, one) for one in missing), monotonic_seconds())
            send_line(connection.writer, {"next": missing[0].guid, "bytes": _size(snapshots, missing[0])})
            receive_line(connection.reader)  # it has the space, or this raises its error
            send_all(
                self._pools, image.volume, missing[0].guid, theirs, connection.writer, running.bucket, count
            )

    def _up_to(self, volume: str, guid: str) -> List[SnapshotFact]:
        history = self._pools.read_history(volume)
        last = history.of_guid(guid)
        if last is None:
            raise StateError(
                f"{volume} has no snapshot {guid} any more, with which its move began: end the move, then move it again"
            )
        return list(history.snapshots[: history.snapshots.index(last) + 1])

    def _compare(self, connection: Connection, image: Image, size_bytes: int, guid: str) -> None:
        path = self._pools.wait_for_device(image.volume, Deadline(DEVICE_SECONDS))
        with self._open_device(path) as device:
            is_same = is_same_content(connection, device, size_bytes)
        received = receive_line(connection.reader).get("received")
        if not is_same or received != guid:
            raise IncoherentError(f"{connection.peer} reads other content than {image.volume} has")

    def _hand_over(self, connection: Connection, image: Image) -> None:
        answer = receive_line(connection.reader)
        if answer.get("taken") is not True:
            described = {
                "attributes": self._store.attributes_of(image.zvol),
                "persistent": image.persistent,
                "copies": encode(image.copies),
            }
            send_line(connection.writer, described)
            answer = receive_line(connection.reader)
        if answer.get("taken") is not True:
            raise IncoherentError(f"{connection.peer} does not confirm that it has ZVol {image.zvol}")

    def _rate(self, zvol: str) -> Optional[float]:
        return bytes_per_second(
            self._store.attributes_of(zvol)["uploadspeed"] or self._store.attributes().get("uploadspeed")
        )


def _size(snapshots: List[SnapshotFact], one: SnapshotFact) -> int:
    """The bytes of a snapshot's stream, about: the first is sent whole."""
    return one.referenced_bytes if one is snapshots[0] else one.written_bytes


# --- the receiving end: images are received beside the others, compared, and taken over last -------------------------
# Until an image is taken over, its NAS has it, and everything that was received of it may be destroyed.


_END_SECONDS = 10.0
_LARGEST_EPOCH = 10**12
"""Far below what the properties of a volume can hold, and above all that maps can use up."""
_LOOK_SECONDS = 0.05


class Arrivals:
    """Expects images, receives them, takes them over. One connection for an image at a time."""

    def __init__(self, context: NasContext, perform: Perform, node: str, open_device: OpenDevice) -> None:
        self._pools, self._engine, self._store, self._progress = context
        self._perform = perform
        self._node = node
        self._open_device = open_device
        self._open: Dict[str, Connection] = {}
        self._lock = threading.Lock()

    # --- what is expected

    def all(self) -> List[Arrival]:
        """The expected images, by volume."""
        return self._store.arrivals()

    def check_free(self, zvol: str) -> None:
        """StateError for the name of an expected image."""
        arrival = self._find(zvol)
        if arrival is not None:
            raise StateError(
                f"ZVol {zvol} is being moved to {self._node} from {arrival.source}; wait for the end of that: "
                f"rocks list host storageop {arrival.source}"
            )

    def expect(self, request: AcceptZvol) -> None:
        """Expect an image. StateError when the name is in use here, or the pool is missing or too full."""
        free_bytes = self._pools.read_pool(request.zpool).free_bytes
        new = Arrival(request.zvol, request.zpool, request.source, request.image_id)
        known = self._find(request.zvol)
        if known is not None:
            if _key(known) != _key(new):
                raise StateError(
                    f"ZVol {request.zvol} is being moved to {self._node} from {known.source} (pool {known.pool}) "
                    f"already; rocks cancel host storagemap {self._node} {request.zvol} cancels that"
                )
            return
        name = f"{request.zpool}/{request.zvol}"
        is_used = self._engine.image_of(request.zvol) or self._engine.image(request.image_id)
        if is_used is not None or self._pools.read_volume(name) is not None:
            raise StateError(
                f"ZVol {request.zvol} exists already on {self._node}; remove it there first: rocks remove host "
                f"storageimg {self._node} {request.zpool} {request.zvol}"
            )
        self._engine.check_target(request.zvol)
        if request.needed_bytes > free_bytes:
            raise StateError(self._shortage(new, request.needed_bytes))
        self._store.add_arrival(new)

    def dismiss(self, zvol: str) -> bool:
        """Expect the image no longer, and destroy what was received; False when it was not expected.

        BusyError when its connection does not end, or its volume cannot be destroyed now: it is by the next start.
        """
        arrival = self._find(zvol)
        if arrival is None:
            return False
        self._store.forget_arrival(zvol)
        deadline = Deadline(_END_SECONDS)
        while self._end(zvol):
            if deadline.passed():
                raise BusyError(f"the transfer of ZVol {zvol} from {arrival.source} does not end yet")
            wait_seconds(_LOOK_SECONDS)
        self._destroy(names.arriving_volume(arrival.pool, zvol))
        return True

    def tidy(self, pools: Collection[str]) -> None:
        """When the daemon starts: destroy what was received, in these pools, of images that are no longer expected.

        What is in others, which are missing or hang, stays until another start.
        """
        expected: Set[str] = set()
        for arrival in self.all():
            if self._engine.image(arrival.image_id) is not None:
                self._store.forget_arrival(arrival.zvol)  # taken over just before the daemon ended
            else:
                expected.add(names.arriving_volume(arrival.pool, arrival.zvol))
        try:
            for pool in pools:
                folder = names.arriving_volume(pool, "")
                for volume in self._pools.list_volumes(pool):
                    if volume.name.startswith(folder) and volume.name not in expected:
                        self._destroy(volume.name)
        except RocksError as error:
            _log.warning("remains of moved images stay: %s", error)

    def operation_rows(self) -> List[OperationRow]:
        """Rows of the list of operations."""
        return [
            replace(
                self._progress.row(
                    "-",
                    "accept_zvol",
                    arrival.zvol,
                    Image(arrival.image_id, self._node, arrival.pool, arrival.zvol),
                ),
                host=arrival.source,
                phase=ARRIVING,
                reason=arrival.reason,
            )
            for arrival in self.all()
        ]

    # --- connections of the other NAS

    def receive(self, connection: Connection, opening: Opening) -> None:
        """Receive all snapshots, and compare the content with the other end's."""
        with self._only_connection(connection, opening) as arrival:
            if arrival is None:
                send_line(connection.writer, {"taken": True})
                return
            arrival = replace(arrival, epoch=opening.epoch, guid=None, volume_guid=None, reason="")
            self._update(arrival)
            send_line(connection.writer, {"expected": True})
            self._receive_all(connection, opening, arrival)
            self._compare(connection, opening, arrival)

    def take_over(self, connection: Connection, opening: Opening) -> None:
        """Make the received volume an image of this NAS. From here on hosts get it here, and no longer there."""
        with self._only_connection(connection, opening) as arrival:
            if arrival is not None:
                if (arrival.epoch, arrival.guid) != (opening.epoch, opening.to_guid):
                    raise StateError(
                        f"{self._node} has not verified the content of ZVol {arrival.zvol}; repeat the command"
                    )
                send_line(connection.writer, {"expected": True})
                image = self._placed(arrival, receive_line(connection.reader))
                self._engine.add(image)
                self._store.forget_arrival(arrival.zvol)
                _log.info("%s: taken over from %s", arrival.zvol, arrival.source)
            send_line(connection.writer, {"taken": True})

    @contextmanager
    def _only_connection(self, connection: Connection, opening: Opening) -> Iterator[Optional[Arrival]]:
        """The expected image, None for one that was taken over; no other connection of it is served meanwhile."""
        arrival = self._allowed(connection.peer, opening)
        if arrival is None:
            yield None
            return
        with self._lock:
            before = self._open.get(arrival.zvol)
            if before is None:
                self._open[arrival.zvol] = connection
        if before is not None:
            before.end()  # the other end has begun anew: nobody reads from that one
            raise BusyError(f"an earlier transfer of ZVol {arrival.zvol} ends; this attempt will be repeated")
        try:
            yield self._allowed(connection.peer, opening)
        finally:
            with self._lock:
                del self._open[arrival.zvol]
            self._progress.end(arrival.image_id)

    def _allowed(self, peer: str, opening: Opening) -> Optional[Arrival]:
        """The expected image, None when it was taken over already. StateError for any other."""
        if not 0 < opening.epoch < _LARGEST_EPOCH:
            raise IncoherentError(f"{peer} sent an image of epoch {opening.epoch}")
        image = self._engine.image(opening.image_id)
        if image is not None and image.epoch > opening.epoch:
            return None
        arrival = next((one for one in self.all() if one.image_id == opening.image_id), None)
        if arrival is None or arrival.source != peer or opening.epoch < arrival.epoch:
            raise self._not_expected(peer)
        return arrival

    def _update(self, arrival: Arrival) -> None:
        """StateError when it was cancelled meanwhile: its record does not come back."""
        if not self._store.update_arrival(arrival):
            raise self._not_expected(arrival.source)

    def _not_expected(self, peer: str) -> StateError:
        return StateError(
            f"{self._node} does not expect this image from {peer}: the move was cancelled, or {self._node} has lost "
            "its records"
        )

    def _receive_all(self, connection: Connection, opening: Opening, arrival: Arrival) -> None:
        volume = names.arriving_volume(arrival.pool, arrival.zvol)
        theirs = receive_line(connection.reader)
        guids = {str(guid) for guid in theirs.get("guids") or ()}
        if any(one.guid not in guids for one in self._pools.read_history(volume).snapshots):
            self._destroy(volume)  # the other NAS does not have all of it any more
        stated_bytes = number(theirs, "bytes")
        meter = Meter(stated_bytes, monotonic_seconds())

        def count(part_bytes: int, total_bytes: int) -> None:
            self._allowed(connection.peer, opening)
            progress = meter.add(part_bytes, monotonic_seconds())
            self._progress.report(arrival.image_id, progress)

        while True:
            send_line(connection.writer, describe(self._pools, volume))
            following = receive_line(connection.reader)
            if "next" not in following:
                return
            self._check_space(arrival, number(following, "bytes"))
            send_line(connection.writer, {"ready": True})
            present_bytes = sum(one.written_bytes for one in self._pools.read_history(volume).snapshots)
            source = Source(connection.peer, largest_move_bytes(stated_bytes, present_bytes))
            receive_all(self._pools, volume, connection.reader, source, count)

    def _compare(self, connection: Connection, opening: Opening, arrival: Arrival) -> None:
        name = names.arriving_volume(arrival.pool, arrival.zvol)
        volume, newest = self._received(name)
        if newest is None or newest.guid != opening.to_guid:
            raise IncoherentError(f"{name} does not end at the snapshot that {connection.peer} has sent")
        path = self._pools.wait_for_device(name, Deadline(DEVICE_SECONDS))
        with self._open_device(path) as device:
            is_same = is_same_content(connection, device, volume.size_bytes)
        if not is_same:
            self._destroy(name)
            raise IncoherentError(
                f"{self._node} reads other content from {name} than {connection.peer} has; what was received is "
                "destroyed"
            )
        self._allowed(connection.peer, opening)
        self._update(replace(arrival, guid=newest.guid, volume_guid=volume.guid))
        send_line(connection.writer, {"received": newest.guid})

    def _placed(self, arrival: Arrival, described: Mapping[str, Any]) -> Image:
        """The volume under its name, with its grant; the image, as it is to be recorded."""
        name, before = f"{arrival.pool}/{arrival.zvol}", names.arriving_volume(arrival.pool, arrival.zvol)
        if self._pools.read_volume(before) is not None:
            self._pools.ensure_renamed(before, arrival.volume_guid or "", name)
        volume, newest = self._received(name)
        if newest is None or (volume.guid, newest.guid) != (arrival.volume_guid, arrival.guid):
            raise IncoherentError(f"{name} is not the volume that {self._node} has received and compared")
        copies = tuple(decode_lenient(Copy, one, "copies") for one in described.get("copies") or ())
        image = Image(
            arrival.image_id,
            self._node,
            arrival.pool,
            arrival.zvol,
            epoch=arrival.epoch + 1,
            size_bytes=volume.size_bytes,
            volume_guid=volume.guid,
            persistent=described.get("persistent") is not False,
            base_name=newest.name,
            base_guid=newest.guid,
            final_guid=newest.guid,
            copies=copies,
        )
        self._perform(effects.EnsureOnlyHold(name, newest.name, newest.guid, volume.guid))
        self._perform(grant_now(image))
        self._store_attributes(arrival.zvol, described.get("attributes"))
        return image

    def _store_attributes(self, zvol: str, attributes: object) -> None:
        """Store the attributes that are valid: another release may allow other values."""
        for key in ATTRIBUTES:
            found = attributes.get(key) if isinstance(attributes, dict) else None
            value = None
            with suppress(UserError):
                value = attribute_value(key, None if found is None else str(found))
            self._store.set_attribute_of(zvol, key, value)

    # --- the received volume

    def _received(self, name: str) -> Tuple[VolumeFact, Optional[SnapshotFact]]:
        volume = self._pools.read_volume(name)
        if volume is None:
            raise IncoherentError(f"the received volume {name} does not exist (any more)")
        return volume, self._pools.read_history(name).newest

    def _destroy(self, name: str) -> None:
        self._pools.ensure_partial_gone(name)
        volume = self._pools.read_volume(name)
        if volume is not None:
            named = [(one.name, one.guid) for one in self._pools.read_history(name).snapshots]
            self._pools.ensure_volume_gone(name, volume.guid, named, may_lose_bytes=None)

    def _check_space(self, arrival: Arrival, needed_bytes: int) -> None:
        if needed_bytes > self._pools.read_pool(arrival.pool).free_bytes:
            reason = f"waits for space: {self._shortage(arrival, needed_bytes)}"
            self._update(replace(arrival, reason=reason))
            raise PoolFullError(reason)

    def _shortage(self, arrival: Arrival, needed_bytes: int) -> str:
        free = size_text(self._pools.read_pool(arrival.pool).free_bytes)
        return (
            f"the pool {arrival.pool} of {self._node} has {free} free, and {size_text(needed_bytes)} are needed for "
            f"ZVol {arrival.zvol}; free space there, or cancel the move"
        )

    def _end(self, zvol: str) -> bool:
        """End the image's connection; False when there is none."""
        with self._lock:
            connection = self._open.get(zvol)
        if connection is not None:
            connection.end()
        return connection is not None

    def _find(self, zvol: str) -> Optional[Arrival]:
        return next((one for one in self.all() if one.zvol == zvol), None)


def _key(arrival: Arrival) -> Tuple[str, str, str]:
    return arrival.pool, arrival.source, arrival.image_id
