"""A small HTTPS server: GET and POST requests, a bound for everything that a client can use up.

A request beyond the bound of `workers` gets 503 with Retry-After. Connections beyond the other bounds are closed, and
beyond that of all addresses the oldest one of the address with the most gives way, unless it gets a file. Without such
a one, the slowest reader of a file gives way, if it takes fewer bytes per second than the bound. A file is sent in
pieces, after its worker is free again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, RocksError
from rocks.fleet.https.connection_places import Bounds, Places
from rocks.fleet.https.request_handler import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.fleet.https.messages import Answer, Request

RENEWAL_SECONDS = 5.0
"""How often a server looks for a renewed certificate."""


class HttpsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers requests by `answer`, which runs in a thread of its own for each; `log` gets a line for each answer."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        place: tuple[str, int],
        pair: bytes | None,
        answer: Callable[[Request], Answer],
        log: Callable[[str], None],
        bounds: Bounds | None = None,
        renewed: Callable[[], bytes] | None = None,
        logs_bodies: bool = True,
    ) -> None:
        """`pair` is the server's certificate and key, PEM; None is plain HTTP, for files that are nobody's secret.

        `renewed` returns the present pair; another one is used for connections from then on. `logs_bodies`: the
        beginning of what is posted is in the log, as reports of hosts are.
        HostError when the place cannot be listened on.
        """
        self.answer, self.log, self.bounds = answer, log, bounds or Bounds()
        self.logs_bodies = logs_bodies
        self.workers = threading.BoundedSemaphore(self.bounds.workers)
        self._context = None if pair is None else _context(pair)
        self._pair, self.renewed = pair, renewed
        self._next_renewal, self._renewal_error = Deadline(RENEWAL_SECONDS), ""
        self.places = Places(self.bounds)
        self._own = threading.local()
        try:
            super().__init__(place, RequestHandler)
        except OSError as error:
            raise HostError(
                f"cannot listen on {place[0]}, port {place[1]}: {error.strerror or error}"
            ) from None

    def service_actions(self) -> None:
        """Use a renewed certificate; a missing or damaged one changes nothing."""
        if self.renewed is None or not self._next_renewal.passed():
            return
        self._next_renewal = Deadline(RENEWAL_SECONDS)
        try:
            pair = self.renewed()
            if pair != self._pair:
                self._context, self._pair = _context(pair), pair
                self.log("the certificate was renewed")
        except (RocksError, OSError) as error:  # SSLError is an OSError
            if str(error) != self._renewal_error:
                self.log(f"the certificate cannot be read again, the old one stays in use: {error}")
            self._renewal_error = str(error)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether the bounds allow one more connection of this address; of another one, one may end for it."""
        assert isinstance(request, socket.socket)
        address = str(client_address[0]) if isinstance(client_address, tuple) else ""
        allowed, displaced = self.places.take(request, address)
        if displaced is not None:
            _cut(displaced)
        return allowed

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Handshake and request, within the time of a connection."""
        assert isinstance(request, socket.socket) and isinstance(client_address, tuple)
        secured: ssl.SSLSocket | None = None
        self._own.request = request
        try:
            request.settimeout(self.bounds.seconds)
            if self._context is None:
                self.places.secure(request, request)
                self._limit(request, self.bounds.seconds)
                self.finish_request(request, client_address)
                return
            # wrapped before the timer begins: it must end the handshake, too
            secured = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self.places.secure(request, secured)
            self._limit(secured, self.bounds.seconds)
            secured.do_handshake()
            self.finish_request(secured, client_address)
            secured.unwrap()
        except (OSError, ValueError):
            pass  # the client went away, or speaks no TLS
        except RuntimeError as error:  # no thread could be started
            self.log(f"{client_address[0]}: a connection was closed: {error}")
        finally:
            self._end_limit()
            if secured:
                secured.close()
            request.close()
            self.places.release(request, str(client_address[0]))

    def connection_of_thread(self) -> socket.socket:
        """The connection whose request this thread answers, as it was accepted."""
        connection: socket.socket = self._own.request
        return connection

    def allow_file(self, connection: socket.socket, length: int) -> None:
        """Give this thread's connection the time for so many bytes more; it gives way only when it is slow."""
        self.places.keep_for_file(self._own.request, connection)
        self._limit(connection, self.bounds.seconds + length / self.bounds.bytes_per_second)

    def allow_stream(self) -> None:
        """This thread's connection has no end, and gives way to nobody."""
        self.places.keep(self._own.request)
        self._end_limit()

    def count_taken(self, length: int) -> None:
        """Record that the reader of this thread's connection took so many bytes more."""
        self.places.count_taken(self._own.request, length)

    def _limit(self, connection: socket.socket, seconds: float) -> None:
        """Cut this thread's connection after so many seconds from now."""
        self._end_limit()
        timer = threading.Timer(seconds, _cut, [connection])
        timer.daemon = True
        timer.start()
        self._own.timer = timer

    def _end_limit(self) -> None:
        timer: threading.Timer | None = getattr(self._own, "timer", None)
        if timer is not None:
            timer.cancel()

    def process_request(self, request: object, client_address: object) -> None:
        """Start the thread of a connection; without one, its place is free again."""
        try:
            super().process_request(request, client_address)  # type: ignore[arg-type]
        except BaseException:
            self.places.release(request, str(client_address[0]) if isinstance(client_address, tuple) else "")
            raise

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: errors of a connection are the client's."""


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # of the plain socket: that of the TLS socket drops its keys while another thread may be writing
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _context(pair: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    descriptor = os.memfd_create("certificate")  # the key is in no file
    try:
        os.write(descriptor, pair)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
