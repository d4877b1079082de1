"""A host's end of transfers: it connects to its NAS, for either direction, and resumes interrupted ones."""

from __future__ import annotations

import logging
import ssl
from contextlib import suppress
from typing import Callable, ContextManager, NamedTuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import IncoherentError, RocksError
from rocks.storage.host.granted_image import GrantedImage
from rocks.storage.life.stream_bounds import largest_stream_bytes
from rocks.storage.stream.dialogue import CHECK, RETURN, SEED, Source, describe, receive_all, send_all
from rocks.storage.stream.frames import Opening, receive_line, send_error, send_line, write_opening
from rocks.storage.stream.pace import Bucket
from rocks.storage.stream.transport import Connection, RevocationWatch, connect
from rocks.storage.zfs.pool import PoolDriver

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
