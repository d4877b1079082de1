"""This NAS's end of moves to another one: it connects, sends all snapshots, and hands the image over.

`arrivals` is the other end. Every attempt begins with what the other NAS has, so an interrupted one goes on.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, ContextManager, Dict, List, Optional, Tuple, Union

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import HostError, IncoherentError, StateError
from rocks.fleet.wire.codec import encode
from rocks.storage.life.effects import Effect, HandOver, SendToNas
from rocks.storage.life.events import EffectDone, EffectFailed
from rocks.storage.life.facts import Facts
from rocks.storage.life.image import Image, Work
from rocks.storage.life.states import MOVING
from rocks.storage.limits import DEVICE_SECONDS
from rocks.storage.nas.attribute_rules import bytes_per_second
from rocks.storage.nas.engine import AGAIN_SECONDS, NasContext, failed_effect
from rocks.storage.nas.imports import OpenDevice
from rocks.storage.nas.move_lines import is_same_content
from rocks.storage.stream.dialogue import HAND_OVER, MOVE, points_of, send_all
from rocks.storage.stream.frames import Opening, receive_line, send_line, write_opening
from rocks.storage.stream.pace import Bucket, Meter
from rocks.storage.stream.transport import Connection
from rocks.storage.zfs.facts import SnapshotFact

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
