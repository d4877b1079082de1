"""The NAS's end of transfers: it sends a base to a host, and receives changes from the host that has the image."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BugError, BusyError, IncoherentError, PoolFullError, RocksError, code_of
from rocks.core.values import size_text
from rocks.storage.image.events import HostFailed
from rocks.storage.image.grants import check_stream
from rocks.storage.image.image import Image, Work
from rocks.storage.image.states import DELETING, RETURNING
from rocks.storage.image.transfers import largest_stream_bytes
from rocks.storage.nas.attribute_rules import bytes_per_second
from rocks.storage.nas.bases import BASE, Bases
from rocks.storage.nas.engine import NasContext
from rocks.storage.nas.hosts import HostCorrespondence
from rocks.storage.nas.moves import Arrivals
from rocks.storage.nas.snapshots import ends_at
from rocks.storage.nas.volumes import IMPORT, Imports
from rocks.storage.stream.dialogue import (
    CHECK,
    HAND_OVER,
    MOVE,
    RETURN,
    SEED,
    Source,
    describe,
    receive_all,
    send_all,
)
from rocks.storage.stream.frames import Opening, read_opening, receive_line, send_error, send_line
from rocks.storage.stream.pace import Bucket, Meter
from rocks.storage.stream.transport import Connection

_log = logging.getLogger(__name__)


class _Open(NamedTuple):
    """A transfer that is under way."""

    opening: Opening
    connection: Connection
    bucket: Bucket


class NasTransfers:
    """Serves hosts' connections. One transfer for an image at a time."""

    def __init__(
        self,
        context: NasContext,
        hosts: HostCorrespondence,
        imports: Imports,
        bases: Bases,
        arrivals: Arrivals,
    ) -> None:
        self._others: Dict[str, Callable[[Connection, Opening], None]] = {
            IMPORT: imports.receive,
            BASE: bases.receive,
            MOVE: arrivals.receive,
            HAND_OVER: arrivals.take_over,
        }
        self._pools, self._engine, self._store, self._progress = context
        self._hosts = hosts
        self._open: Dict[str, _Open] = {}
        self._causes: Dict[str, Tuple[Optional[Work], RocksError]] = {}
        """Image → the work whose last transfer was ended here, and why, until its host reports the failure."""
        self._lock = threading.Lock()

    def serve(self, connection: Connection) -> None:
        """Serve the host at the other end, if it may transfer the image. Raises nothing."""
        try:
            self._serve(connection, read_opening(connection.opening))
        except RocksError as error:
            _log.warning("transfer with %s: %s", connection.peer, error)
            with suppress(OSError):
                send_error(connection.writer, error)
        except OSError as error:
            _log.warning("transfer with %s was cut: %s", connection.peer, error)
        except Exception as error:  # noqa: BLE001 - one transfer's fault must not end the others
            _log.exception("a fault in a transfer with %s; please report this", connection.peer)
            with suppress(OSError):
                send_error(
                    connection.writer, BugError(f"{type(error).__name__} in the transfer; please report this")
                )

    def _serve(self, connection: Connection, opening: Opening) -> None:
        serve = self._others.get(opening.purpose)
        if serve is not None:
            serve(connection, opening)
            return
        if opening.purpose == CHECK:
            send_line(connection.writer, {"has": self._has(opening)})
            return
        if opening.purpose not in (SEED, RETURN):
            raise IncoherentError(f"a transfer has no purpose {opening.purpose!r}")
        image = self._allowed(opening, connection.peer)
        with self._lock:
            if image.image_id in self._open:
                raise BusyError(
                    f"ZVol {image.zvol} is already being transferred; this attempt will be repeated"
                )
            bucket = Bucket(self._rate(image, opening.purpose))
            self._open[image.image_id] = _Open(opening, connection, bucket)
            self._causes.pop(image.image_id, None)
        _log.info("%s: %s with %s begins", image.zvol, opening.purpose, connection.peer)
        try:
            if opening.purpose == SEED:
                self._send(image, opening, connection)
            else:
                self._receive(image, opening, connection)
        finally:
            with self._lock:
                del self._open[image.image_id]
            self._progress.end(image.image_id)
        _log.info("%s: %s with %s is complete", image.zvol, opening.purpose, connection.peer)

    def _has(self, opening: Opening) -> bool:
        """Whether an image that is not removed has that snapshot on its disks, now."""
        image = self._engine.image(opening.image_id)
        if image is None or image.state == DELETING:
            return False
        volume = self._pools.read_volume(image.volume)
        if volume is None or image.volume_guid not in (None, volume.guid):
            return False
        return self._pools.read_history(image.volume).of_guid(opening.to_guid) is not None

    def end_rejected(self, image_id: str) -> None:
        """The image has changed: its transfer ends at once if it is no longer allowed. A partial receive stays."""
        with self._lock:
            known = self._open.get(image_id)
        if known is None:
            return
        try:
            self._allowed(known.opening, known.connection.peer)
        except RocksError as error:
            _log.info("the transfer with %s ends: %s", known.connection.peer, error)
            known.bucket.end()
            known.connection.end()

    def _send(self, image: Image, opening: Opening, connection: Connection) -> None:
        theirs = receive_line(connection.reader)
        send_all(
            self._pools,
            image.volume,
            opening.to_guid,
            theirs,
            connection.writer,
            self._open[image.image_id].bucket,
            self._counter(image, opening, connection.peer, None),
        )

    def _receive(self, image: Image, opening: Opening, connection: Connection) -> None:
        send_line(connection.writer, describe(self._pools, image.volume))
        bucket = self._open[image.image_id].bucket
        needed = 0

        def check_space(size_bytes: int) -> None:
            nonlocal needed
            needed = size_bytes
            if needed > self._pools.read_pool(image.pool).free_bytes:
                raise PoolFullError

        count = self._counter(image, opening, connection.peer, bucket)
        source = Source(connection.peer, self._largest_bytes(image), check_space)
        try:
            receive_all(self._pools, image.volume, connection.reader, source, count)
        except PoolFullError:
            cause = PoolFullError(self._shortage(image, needed))
            self._causes[image.image_id] = image.work, cause
            raise cause from None
        except IncoherentError as error:
            self._causes[image.image_id] = image.work, error
            raise
        finally:
            self._drop_superseded(image)
        self._allowed(opening, connection.peer)
        if not ends_at(self._pools.read_history(image.volume), opening.to_guid):
            raise IncoherentError(
                f"{image.volume} does not end at the snapshot that {connection.peer} has sent"
            )
        send_line(connection.writer, {"received": opening.to_guid})

    def _drop_superseded(self, image: Image) -> None:
        """Its step may have looked for a partial receive before the last part, which was let in, was stored."""
        now = self._engine.image(image.image_id)
        if now is not None and now.epoch > image.epoch:
            self._pools.ensure_partial_gone(image.volume)

    def _largest_bytes(self, image: Image) -> int:
        volume = self._pools.read_volume(image.volume)
        return 0 if volume is None else largest_stream_bytes(volume.size_bytes, volume.block_bytes)

    def _shortage(self, image: Image, needed_bytes: int) -> str:
        free = self._pools.read_pool(image.pool).free_bytes
        return (
            f"waits for space: the pool {image.pool} of {image.nas} has {size_text(free)} free, and "
            f"{size_text(needed_bytes)} are needed for the changes of {image.zvol}; free space there, then it goes on"
        )

    def explained(self, image_id: str, event: HostFailed) -> HostFailed:
        """A host's failure with its true cause, which may look like a connection that was cut there."""
        work, cause = self._causes.pop(image_id, (None, None))
        if cause is None or work is None or work.work_id != event.work_id:
            return event
        return replace(event, family=cause.family, message=str(cause), code=code_of(cause))

    def _allowed(self, opening: Opening, peer: str) -> Image:
        """The image, if this host may transfer it now. The rejection is raised."""
        image = self._engine.image(opening.image_id)
        if image is None:
            raise IncoherentError(f"there is no image {opening.image_id} here (any more)")
        rejection = check_stream(image, peer, opening.epoch, opening.purpose == RETURN)
        if rejection is not None:
            raise rejection.error()
        return image

    def _counter(
        self, image: Image, opening: Opening, peer: str, bucket: Optional[Bucket]
    ) -> Callable[[int, int], None]:
        """Called for each part: checks the grant, limits the rate of received data, and reports the progress."""
        meter: Optional[Meter] = None

        def count(part_bytes: int, total_bytes: int) -> None:
            nonlocal meter
            now = self._allowed(opening, peer)
            # it may have been changed
            self._open[image.image_id].bucket.set_rate(self._rate(now, opening.purpose))
            if bucket is not None:
                bucket.pause(bucket.take(part_bytes, monotonic_seconds()))
                self._allowed(opening, peer)
            meter = meter or Meter(total_bytes, monotonic_seconds())
            self._progress.report(image.image_id, meter.add(part_bytes, monotonic_seconds()))
            if now.work is not None:
                self._hosts.note_activity(image.image_id, now.work.work_id)

        return count

    def _rate(self, image: Image, purpose: str) -> Optional[float]:
        """Bytes per second: the image's own limit, else the NAS's; none for the final return."""
        if image.state == RETURNING:
            return None
        name = "uploadspeed" if purpose == SEED else "downloadspeed"
        return bytes_per_second(
            self._store.attributes_of(image.zvol)[name] or self._store.attributes().get(name)
        )
