"""A small HTTPS server: GET requests, a bound for everything that a client can use up.

A request beyond the bound of `workers` gets 503 with Retry-After. Connections beyond the other bounds are closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from rocks.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RETRY_AFTER_SECONDS = 15


@dataclass(frozen=True)
class Request:
    """A request: the client's IPv4 address, the path without its query, and the headers in their order."""

    address: str
    path: str
    headers: list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """An answer: HTTP status, type and bytes of its body, and further headers."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bounds:
    """What clients can use at once: answers being made, connections, connections of one address, seconds of one."""

    workers: int = 8
    connections: int = 128
    per_address: int = 4
    seconds: float = 60.0


class HttpsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers requests by `answer`, which runs in a thread of its own for each; `log` gets a line for each answer."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        place: tuple[str, int],
        pair: bytes,
        answer: Callable[[Request], Answer],
        log: Callable[[str], None],
        bounds: Bounds | None = None,
    ) -> None:
        """`pair` is the server's certificate and key, PEM. HostError when the place cannot be listened on."""
        self.answer, self.log, self.bounds = answer, log, bounds or Bounds()
        self.workers = threading.BoundedSemaphore(self.bounds.workers)
        self._context = _context(pair)
        self._connections: Counter[str] = Counter()
        self._lock = threading.Lock()
        try:
            super().__init__(place, _Handler)
        except OSError as error:
            raise HostError(
                f"cannot listen on {place[0]}, port {place[1]}: {error.strerror or error}"
            ) from None

    def verify_request(self, request: object, client_address: object) -> bool:
        """Whether the bounds allow one more connection of this address."""
        address = str(client_address[0]) if isinstance(client_address, tuple) else ""
        with self._lock:
            allowed = (
                self._connections.total() < self.bounds.connections
                and self._connections[address] < self.bounds.per_address
            )
            if allowed:
                self._connections[address] += 1
        return allowed

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Handshake and request, within the time of a connection."""
        assert isinstance(request, socket.socket) and isinstance(client_address, tuple)
        timer: threading.Timer | None = None
        secured: ssl.SSLSocket | None = None
        try:
            request.settimeout(self.bounds.seconds)
            # wrapped before the timer begins: it must end the handshake, too
            secured = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            timer = threading.Timer(self.bounds.seconds, _cut, [secured])
            timer.daemon = True
            timer.start()
            secured.do_handshake()
            self.finish_request(secured, client_address)
            secured.unwrap()
        except (OSError, ValueError):
            pass  # the client went away, or speaks no TLS
        except RuntimeError as error:  # no thread could be started
            self.log(f"{client_address[0]}: a connection was closed: {error}")
        finally:
            if timer is not None:
                timer.cancel()
            (secured or request).close()
            self._release(str(client_address[0]))

    def process_request(self, request: object, client_address: object) -> None:
        """Start the thread of a connection; without one, its place is free again."""
        try:
            super().process_request(request, client_address)  # type: ignore[arg-type]
        except BaseException:
            self._release(str(client_address[0]) if isinstance(client_address, tuple) else "")
            raise

    def _release(self, address: str) -> None:
        with self._lock:
            self._connections[address] -= 1
            self._connections += Counter()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: errors of a connection are the client's."""


class _Handler(BaseHTTPRequestHandler):
    server: HttpsServer
    server_version = "rocks"
    sys_version = ""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Answer, or 503 when all workers are occupied."""
        path = self.path.partition("?")[0]
        address = str(self.client_address[0])
        if not self.server.workers.acquire(blocking=False):
            text = "busy; ask again later\n"
            answer = Answer(503, "text/plain", text.encode(), {"Retry-After": str(RETRY_AFTER_SECONDS)})
        else:
            try:
                answer = self.server.answer(Request(address, path, list(self.headers.items())))
            except Exception as error:  # a fault of ours must not look like a file to the client
                self.server.log(f"{address}: fault {type(error).__name__}: {error}")
                answer = Answer(500, "text/plain", b"a fault of the service; see its log on the frontend\n")
            finally:
                self.server.workers.release()
        self.server.log(f"{address} {answer.status} {path[:200]}")
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing: the server logs answers."""


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # of the plain socket: that of the TLS socket drops its keys while another thread may be writing
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _context(pair: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _memory_file(pair) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """A path by which this process reads the data; the key is in no file."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
