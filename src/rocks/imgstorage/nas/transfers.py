"""The NAS's end of transfers: it sends a base to a host, and receives changes from the host that has the image."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Callable, Dict, NamedTuple, Optional

from rocks.clock import monotonic_seconds
from rocks.devices.zfs.driver import PoolDriver
from rocks.errors import BugError, BusyError, IncoherentError, RocksError
from rocks.imgstorage.exchange import RETURN, SEED, describe, receive_all, send_all
from rocks.imgstorage.life.fencing import check_stream
from rocks.imgstorage.life.image import Image
from rocks.imgstorage.life.states import RETURNING
from rocks.imgstorage.nas.attributes import bytes_per_second
from rocks.imgstorage.nas.engine import Engine, now_seconds
from rocks.imgstorage.nas.hosts import HostCorrespondence
from rocks.imgstorage.nas.imports import IMPORT, Imports
from rocks.imgstorage.nas.progress import ProgressBoard
from rocks.imgstorage.store.nas import NasStore
from rocks.imgstorage.stream.lines import Opening, read_opening, receive_line, send_error, send_line
from rocks.imgstorage.stream.pace import Bucket, Meter
from rocks.imgstorage.stream.transport import Connection

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
        pools: PoolDriver,
        engine: Engine,
        store: NasStore,
        hosts: HostCorrespondence,
        progress: ProgressBoard,
        imports: Imports,
    ) -> None:
        self._imports = imports
        self._pools = pools
        self._engine = engine
        self._store = store
        self._hosts = hosts
        self._progress = progress
        self._open: Dict[str, _Open] = {}
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
        if opening.purpose == IMPORT:
            self._imports.receive(connection, opening)
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
        receive_all(
            self._pools,
            image.volume,
            connection.reader,
            self._counter(image, opening, connection.peer, bucket),
        )
        self._allowed(opening, connection.peer)
        newest = self._pools.read_history(image.volume).newest
        if newest is None or newest.guid != opening.to_guid:
            raise IncoherentError(
                f"{image.volume} does not end at the snapshot that {connection.peer} has sent"
            )
        send_line(connection.writer, {"received": newest.guid})

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
            self._open[image.image_id].bucket.set_rate(
                self._rate(now, opening.purpose)
            )  # it may have been changed
            if bucket is not None:
                bucket.pause(bucket.take(part_bytes, monotonic_seconds()))
                self._allowed(opening, peer)
            meter = meter or Meter(total_bytes, monotonic_seconds())
            self._progress.report(
                image.image_id, opening.purpose, meter.add(part_bytes, monotonic_seconds()), now_seconds()
            )
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
