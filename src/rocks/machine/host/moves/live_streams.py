"""The streams of one end of a live migration: frames, and the connections whose bytes are in them.

Both standard streams lead to the frontend. Where the old host reaches the new one directly, memory and disks do not
take that way.

libvirt resumes a machine on its old host when the connection to the new one breaks, also when it runs there by then. So
an end that loses the other one never closes a connection: it ends as a whole process. libvirt then leaves the
machine as it is, and the frontend decides.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import socket
import threading
from pathlib import Path
from typing import Callable, Dict, List, Optional, Set

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError
from rocks.fleet.wire.live_moves import DATA, END, LIBVIRT, OPEN, TICK, Frame, Frames, frame
from rocks.machine.limits import LIVE_SILENT_SECONDS, LIVE_TICK_SECONDS

_PIECE_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
LOST = 3
"""Exit status of an end that has lost the other one."""


class Streams:
    """Both standard streams, and the direct way. Frames of no connection are kept until they are asked for."""

    def __init__(self, connect: Optional[Callable[[str], socket.socket]] = None) -> None:
        """`connect` opens the socket of a name for the other end; None: the other end opens none."""
        self._output = os.dup(1)
        os.dup2(2, 1)  # what libraries print is no frame
        self._connect = connect
        self._sockets: Dict[int, socket.socket] = {}
        self._of_libvirt: Set[int] = set()
        """Connections to libvirt of the new host that nobody has closed yet."""
        self._received: "queue.Queue[Frame]" = queue.Queue()
        self._output_lock = threading.Lock()
        self._send_directly: Optional[Callable[[bytes], None]] = None
        self._directly: Set[int] = set()
        """Connections whose bytes this end sends directly."""
        self._direct_lock = threading.Lock()
        self._next_channel = 1

    def start(self) -> None:
        """Receive from now on."""
        reads = (_read_input, "the other host, or this site's frontend, is not there any more")
        threading.Thread(target=self.receive, args=reads, daemon=True).start()
        threading.Thread(target=_tick, args=(self.send,), daemon=True).start()

    def go_directly(self, send: Callable[[bytes], None]) -> None:
        """Send later connections to the sockets of memory and disks by this function, which raises OSError."""
        self._send_directly = send
        threading.Thread(target=_tick, args=(self._pass_directly,), daemon=True).start()

    def take(self, seconds: Optional[float]) -> Frame:
        """The next frame of no connection; None waits for ever. HostError when none comes."""
        try:
            return self._received.get(timeout=seconds)
        except queue.Empty:
            raise HostError(f"the other host has sent nothing for {seconds:g} s") from None

    def send(self, kind: int, data: bytes = b"", channel: int = 0) -> None:
        """Send a frame; the process ends when nobody takes it."""
        if channel in self._directly:
            self._pass_directly(kind, data, channel)
            return
        remaining = memoryview(frame(kind, channel, data))
        with self._output_lock:
            try:
                while remaining:
                    remaining = remaining[os.write(self._output, remaining) :]
            except OSError:
                lost("nobody takes what it sends")

    def _pass_directly(self, kind: int, data: bytes = b"", channel: int = 0) -> None:
        assert self._send_directly is not None
        with self._direct_lock:
            try:
                self._send_directly(frame(kind, channel, data))
            except OSError as error:
                lost(f"the other host is not reached directly any more: {error}")

    def serve(self, server: socket.socket, name: str) -> None:
        """Carry each connection to this socket to the socket `name` of the other end."""
        threading.Thread(target=self._accept, args=(server, name), daemon=True).start()

    def _accept(self, server: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):  # the server was closed
            while True:
                connection, _ = server.accept()
                with self._output_lock:
                    channel = self._next_channel
                    self._next_channel += 1
                self._take_up(channel, connection, name, is_new=True)

    def _take_up(self, channel: int, connection: socket.socket, name: str, is_new: bool) -> None:
        self._sockets[channel] = connection
        if name == LIBVIRT:
            self._of_libvirt.add(channel)
        elif self._send_directly is not None:
            self._directly.add(channel)
        if is_new:
            self.send(OPEN, name.encode(), channel)
        threading.Thread(target=self._read, args=(channel, connection), daemon=True).start()

    def _read(self, channel: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(_PIECE_BYTES):
                self.send(DATA, data, channel)
        if self._connect is not None and channel in self._of_libvirt:
            lost("libvirt on the new host has closed the connection")
        self._of_libvirt.discard(channel)
        self.send(END, b"", channel)

    def receive(self, read: Callable[[int], bytes], ended: str) -> None:
        """Handle the frames of a way to this end; the process ends when they do, with this reason."""
        frames = Frames()
        try:
            while data := read(_PIECE_BYTES):
                for received in frames.put(data):
                    self._handle(received)
        except Exception as error:
            lost(f"{ended}: {type(error).__name__}: {error}")
        lost(ended)

    def _handle(self, received: Frame) -> None:
        kind, channel, data = received
        if kind == OPEN:
            if self._connect is None:
                lost("the other end opens a connection")
            assert self._connect is not None
            name = data.decode("ascii", "replace")
            try:
                self._take_up(channel, self._connect(name), name, is_new=False)
            except OSError as error:
                lost(f"the socket {name} does not answer on this host: {error}")
        elif kind in (DATA, END):
            self._write(channel, data, is_end=kind == END)
        elif kind != TICK:
            self._received.put(received)

    def _write(self, channel: int, data: bytes, is_end: bool) -> None:
        connection = self._sockets.get(channel)
        if connection is None:
            return
        if is_end and self._connect is None and channel in self._of_libvirt:
            lost("the new host has closed the connection to its libvirt")
        if is_end:
            self._of_libvirt.discard(channel)
        with contextlib.suppress(OSError):  # its program has closed it, and reports why
            if is_end:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.sendall(data)


def _tick(send: Callable[[int], None]) -> None:
    """A way that is full holds up no tick of the other one."""
    while True:
        wait_seconds(LIVE_TICK_SECONDS)
        send(TICK)


def _read_input(count: int) -> bytes:
    """Of standard input; nothing at its end, and when it was silent for too long."""
    ready, _, _ = select.select([0], [], [], LIVE_SILENT_SECONDS)
    return os.read(0, count) if ready else b""


def lost(why: str) -> None:
    """End this process at once, with all its connections."""
    with contextlib.suppress(OSError):  # the frontend may be the one that is lost
        os.write(2, f"the migration has ended early: {why}\n".encode())
    for remains in folders:
        shutil.rmtree(remains, ignore_errors=True)
    os._exit(LOST)


folders: List[Path] = []
"""What an end that loses the other one removes: a connection stays open when the name of its socket is gone."""


def connect_soon(path: str) -> socket.socket:
    """A connection to a unix socket, which may be made only now. OSError."""
    deadline = Deadline(_CONNECT_SECONDS)
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if deadline.passed():
                raise
            wait_seconds(0.05)
