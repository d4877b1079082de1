"""Carries bytes between a client and a descriptor of this machine, with bounded memory."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from rocks.core.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 16384
_MAX_WAITING = 65536
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def relay(
    connection: socket.socket,
    descriptor: int,
    is_still_allowed: Callable[[], bool],
    check_seconds: float,
    stalled_seconds: float,
) -> None:
    """Carry bytes both ways until one end closes, or `is_still_allowed`, asked every `check_seconds`, is False.

    It also ends when the client takes nothing for `stalled_seconds` although there is something, or does not answer
    TCP's probes.
    """
    connection.setblocking(False)
    os.set_blocking(descriptor, False)
    with contextlib.suppress(OSError):  # not a TCP connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    ends = _Ends(connection, descriptor)
    next_check, stalled = Deadline(check_seconds), Deadline(stalled_seconds)
    with contextlib.suppress(OSError):
        while True:
            if next_check.passed():
                if not is_still_allowed():
                    return
                next_check = Deadline(check_seconds)
            if ends.wait(next_check.remaining_seconds() or 0.0):
                stalled = Deadline(stalled_seconds)
            elif stalled.passed() and ends.to_client:
                return
            elif not ends.to_client:
                stalled = Deadline(stalled_seconds)
            if ends.has_ended:
                return


def relay_descriptors(reader: int, writer: int, descriptor: int) -> None:
    """Relay bytes from `reader` to the descriptor, and from there to `writer`, until one of the three closes.

    Blocking: an end that takes nothing stops the other one, and memory holds one piece for each way.
    """
    ended = threading.Event()
    for source, target in ((reader, descriptor), (descriptor, writer)):
        # Of its own: the other way may still wait when this returns, and the caller closes the descriptor. Its number
        # would then be that of the next connection, whose bytes would be carried.
        own = (os.dup(source), os.dup(target))
        threading.Thread(target=_copy, args=(*own, ended), daemon=True).start()
    ended.wait()


def _copy(source: int, target: int, ended: threading.Event) -> None:
    """Carry bytes until one of the two closes; closes both."""
    with contextlib.suppress(OSError):
        while data := os.read(source, _PIECE_BYTES):
            while data:
                data = data[os.write(target, data) :]
    ended.set()
    os.close(source)
    os.close(target)


class _Ends:
    """The two ends, and what waits for each."""

    def __init__(self, connection: socket.socket, descriptor: int) -> None:
        self.to_client, self.has_ended = b"", False
        self._connection, self._descriptor = connection, descriptor
        self._to_descriptor = b""

    def wait(self, seconds: float) -> bool:
        """Wait until something can be carried, and carry it; whether the client took something."""
        poller = select.poll()
        wants = select.POLLIN if len(self._to_descriptor) < _MAX_WAITING else 0
        poller.register(self._connection, wants | (select.POLLOUT if self.to_client else 0))
        far = select.POLLIN if len(self.to_client) < _MAX_WAITING else 0
        poller.register(self._descriptor, far | (select.POLLOUT if self._to_descriptor else 0))
        pending = wants and isinstance(self._connection, ssl.SSLSocket) and self._connection.pending()
        events = dict(poller.poll(0 if pending else seconds * 1000))
        gone = select.POLLHUP | select.POLLERR | select.POLLNVAL
        if pending or events.get(self._connection.fileno(), 0) & (wants | gone):
            self._from_client()
        event = events.get(self._descriptor, 0)
        if event & select.POLLIN:
            self._from_descriptor()
        elif event & gone:
            self.has_ended = True
        self._write_descriptor()
        return self._write_client()

    def _from_client(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            data = self._connection.recv(_PIECE_BYTES)
            self.has_ended = self.has_ended or not data
            self._to_descriptor += data

    def _from_descriptor(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._descriptor, _PIECE_BYTES)
            self.has_ended = self.has_ended or not data
            self.to_client += data

    def _write_descriptor(self) -> None:
        if self._to_descriptor:
            with contextlib.suppress(BlockingIOError):
                count = os.write(self._descriptor, self._to_descriptor[:_PIECE_BYTES])
                self._to_descriptor = self._to_descriptor[count:]

    def _write_client(self) -> bool:
        if not self.to_client:
            return False
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            count = self._connection.send(self.to_client[:_PIECE_BYTES])
            self.to_client = self.to_client[count:]
            return True
        return False
