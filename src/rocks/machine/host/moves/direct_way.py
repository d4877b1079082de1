"""The way of memory and disks from the old host to the new one, past the frontend (decision 171).

TLS, with a certificate that was made for this move, whose key is on no disk. Others that connect are refused, and hold
nothing up (`rocks.storage.stream.transport`).
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from typing import Callable, Optional, Tuple

from rocks.core.errors import HostError, RocksError
from rocks.fleet.wire.live_moves import DIRECT_PORTS, Arrival, DirectWay
from rocks.machine.host.moves.live_streams import Streams
from rocks.storage.stream.transport import Connection, StreamServer, connect

LIVE_DIRECT_SECONDS = 5.0
"""How long the old host waits for the new one on the direct way, before memory and disks go through the frontend."""

_DATA, _ANSWERS = b"data", b"answers"
"""First lines of the old host's two connections, one for each direction: no two threads may use one (OpenSSL)."""

_RECORD_BYTES = 16 * 1024
_READY = b"\n"
"""The new host's first byte: it has seen the old one's certificate, which TLS 1.3 does not say."""


def listen(way: Optional[DirectWay], streams: Streams, stack: contextlib.ExitStack) -> Tuple[int, str]:
    """Have the old host connect until the stack ends; the port, or 0 and why there is none."""
    if way is None:
        return 0, ""
    try:
        server = _server(way, streams)
    except RocksError as error:
        return 0, str(error)
    stack.callback(server.close)
    return server.port, ""


def _server(way: DirectWay, streams: Streams) -> StreamServer:
    def serve(connection: Connection) -> None:
        connection.writer.write(_READY)
        connection.writer.flush()
        if connection.opening == _ANSWERS:
            streams.go_directly(_sender(connection))
            threading.Event().wait()  # it is open until this process ends
        streams.receive(_receiver(connection), "the old host does not reach this one directly any more")

    context, problem = _context(way, ssl.PROTOCOL_TLS_SERVER), HostError("")
    for port in DIRECT_PORTS:
        try:
            return StreamServer(lambda: context, way.address, port, serve, limit=2)
        except HostError as error:  # another one listens there
            problem = error
    raise problem


def connect_directly(
    way: Optional[DirectWay], there: Arrival, streams: Streams, stack: contextlib.ExitStack
) -> str:
    """Send memory and disks directly until the stack ends; why not, empty when that is so."""
    if way is None or there.port not in DIRECT_PORTS:
        return there.problem
    try:
        context = _context(way, ssl.PROTOCOL_TLS_CLIENT)
        answers = _connected(context, way, there.port, _ANSWERS, stack)
        ended = f"{way.host} does not reach this host directly any more"
        threading.Thread(target=streams.receive, args=(_receiver(answers), ended), daemon=True).start()
        streams.go_directly(_sender(_connected(context, way, there.port, _DATA, stack)))
    except (RocksError, OSError) as error:
        return str(error)
    return ""


def _connected(
    context: ssl.SSLContext, way: DirectWay, port: int, opening: bytes, stack: contextlib.ExitStack
) -> Connection:
    """A connection that the new host has confirmed. RocksError or OSError."""
    seconds = LIVE_DIRECT_SECONDS
    connection = stack.enter_context(connect(context, way.address, port, way.host, opening, seconds=seconds))
    stack.callback(connection.end)  # so no thread reads when its file is closed
    if connection.reader.read(1) != _READY:
        raise HostError(f"{way.host} has closed the connection")
    return connection


def _sender(connection: Connection) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        connection.writer.write(data)
        connection.writer.flush()

    return send


def _receiver(connection: Connection) -> Callable[[int], bytes]:
    # Python makes room for all bytes that it is asked for, and gets those of one record
    return lambda _: connection.reader.read1(_RECORD_BYTES)  # type: ignore[attr-defined]


def _context(way: DirectWay, kind: int) -> ssl.SSLContext:
    """HostError when TLS cannot be used here."""
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        descriptor = os.memfd_create("identity")  # ssl reads a key from a file only; this one is on no disk
        with os.fdopen(descriptor, "wb") as file:
            file.write(way.identity.encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        context.load_verify_locations(cadata=way.authority)
    except OSError as error:
        raise HostError(f"the certificate of the move cannot be used: {error}") from None
    return context
