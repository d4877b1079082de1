"""The HTTPS server: requests and answers, bounds on connections, and one thread for each connection."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import socketserver
import ssl
import stat
import threading
from collections import Counter
from dataclasses import field
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, RocksError
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedIOBase


RETRY_AFTER_SECONDS = 15


@dataclass(frozen=True)
class Request:
    """A request: the client's IPv4 address, the path without its query, and the headers in their order.

    `port` is the client's. `body` is that of a POST request, at most `Bounds.body_bytes` long.
    """

    address: str
    path: str
    headers: list[tuple[str, str]]
    port: int = 0
    method: str = "GET"
    body: bytes = b""


class FilePart(NamedTuple):
    """Bytes of an open file, which the server closes when they are sent."""

    descriptor: int
    offset: int
    length: int


class Stream(Protocol):
    """What goes on over a connection after an answer 101."""

    def run(self, connection: socket.socket) -> None:
        """Use the connection until it ends, in the thread of the connection; no bound of time holds any more."""

    def close(self) -> None:
        """Called in any case, also when `run` was not."""


@dataclass(frozen=True)
class Answer:
    """An answer: HTTP status, type and bytes of its body, and further headers. `file` is sent instead of `body`.

    `reason` is for a person whose program shows the first line of an answer only, as wget does. With `stream`, the
    answer is only a head, and the connection is the stream's.
    """

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    file: FilePart | None = None
    reason: str = ""
    stream: Stream | None = None


# How many connections a server has at once, and which one gives way when there are too many.


@dataclass(frozen=True)
class Bounds:
    """What clients can use at once: answers being made, connections, connections of one address, seconds of one.

    A file may take a second more for each `bytes_per_second` of it. Beyond the number of connections, a reader that has
    taken fewer gives way to another client, but not in its first `patience_seconds`.
    """

    workers: int = 8
    connections: int = 512
    per_address: int = 8
    seconds: float = 60.0
    body_bytes: int = 4096
    head_bytes: int = 65536
    bytes_per_second: int = 50_000
    patience_seconds: float = 10.0

    @property
    def question_bytes(self) -> int:
        """The longest question to the process that answers: what is read, each byte as six of JSON."""
        return 6 * (2 * self.head_bytes + self.body_bytes) + 4096


@dataclass
class _Reader:
    """A connection that gets a file: since when, by the clock for durations, and how many bytes it took."""

    connection: socket.socket
    begun: float
    taken: int = 0

    def bytes_per_second(self, now: float) -> float:
        return self.taken / max(now - self.begun, 1.0)


class Places:
    """The connections of a server, by the socket that was accepted; any thread may use it."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._displaceable: dict[object, tuple[str, socket.socket]] = {}
        self._readers: dict[object, _Reader] = {}

    def take(self, request: socket.socket, address: str) -> tuple[bool, socket.socket | None]:
        """Whether the bounds allow one more connection of this address; and the one that is to end for it."""
        displaced = None
        with self._lock:
            allowed = self._connections[address] < self._bounds.per_address
            if allowed and self._connections.total() >= self._bounds.connections:
                displaced = self._displaced()
                allowed = displaced is not None
            if allowed:
                self._connections[address] += 1
                self._displaceable[request] = (address, request)
        return allowed, displaced

    def _displaced(self) -> socket.socket | None:
        """Take out the oldest connection, without a file, of the address that has the most of them; else a reader."""
        count = Counter(address for address, _ in self._displaceable.values())
        if not count:
            return self._slowest_reader()
        crowded = count.most_common(1)[0][0]
        key = next(key for key, (address, _) in self._displaceable.items() if address == crowded)
        return self._displaceable.pop(key)[1]

    def _slowest_reader(self) -> socket.socket | None:
        """Take out the slowest one, if its rate is below the bound."""
        now = monotonic_seconds()
        rates = {
            key: one.bytes_per_second(now)
            for key, one in self._readers.items()
            if now - one.begun >= self._bounds.patience_seconds
        }
        slowest = min(rates, key=rates.__getitem__, default=None)
        if slowest is None or rates[slowest] >= self._bounds.bytes_per_second:
            return None
        return self._readers.pop(slowest).connection

    def secure(self, request: socket.socket, secured: socket.socket) -> None:
        """Cut the TLS socket from now on. OSError when the connection had to give way already."""
        with self._lock:
            if request not in self._displaceable:
                raise ConnectionAbortedError
            self._displaceable[request] = (self._displaceable[request][0], secured)

    def keep_for_file(self, request: object, connection: socket.socket) -> None:
        """The connection gets a file, and gives way only when it is slow."""
        with self._lock:
            self._displaceable.pop(request, None)
            self._readers[request] = _Reader(connection, monotonic_seconds())

    def keep(self, request: object) -> None:
        """The connection gives way to nobody."""
        with self._lock:
            self._displaceable.pop(request, None)

    def count_taken(self, request: object, length: int) -> None:
        """The reader of a file took so many bytes more."""
        with self._lock:
            reader = self._readers.get(request)
            if reader is not None:
                reader.taken += length

    def release(self, request: object, address: str) -> None:
        """The connection has ended."""
        with self._lock:
            self._displaceable.pop(request, None)
            self._readers.pop(request, None)
            self._connections[address] -= 1
            self._connections += Counter()


# Reads one request of a connection of the HTTPS server, and sends its answer.


_PIECE_BYTES = 256 * 1024
_LONGEST_REASON = 400


class RequestHandler(BaseHTTPRequestHandler):
    """One connection, with one request."""

    server: HttpsServer
    server_version = "rocks"
    sys_version = ""

    def setup(self) -> None:
        """As http.server's, with a bound for all lines of the head together."""
        super().setup()
        self.rfile = _Head(self.rfile, self.server.bounds.head_bytes)  # type: ignore[assignment]

    def handle(self) -> None:
        """As http.server's; 431 also when the line of the request does not end."""
        try:
            super().handle()
        except LineTooLong:
            self.requestline = self.request_version = self.command = ""
            self.send_error(431)

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Answer, or 503 when all workers are occupied."""
        self._answer("GET", b"")

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """As `do_GET`; 411 and 413 for a body whose length is not stated, or too large."""
        stated = self.headers.get("Content-Length", "")
        if not (stated.isascii() and stated.isdecimal()):
            self._send(Answer(411, "text/plain", b"the length of the body is not stated\n"), b"")
        elif len(stated) > 9 or int(stated) > self.server.bounds.body_bytes:
            text = f"the body is longer than {self.server.bounds.body_bytes} bytes\n"
            self._send(Answer(413, "text/plain", text.encode()), b"")
        else:
            body = self.rfile.read(int(stated))
            if len(body) == int(stated):
                self._answer("POST", body)

    def _answer(self, method: str, body: bytes) -> None:
        address, port = self.client_address[:2]
        request = Request(
            str(address), self.path.partition("?")[0], list(self.headers.items()), port, method, body
        )
        if not self.server.workers.acquire(blocking=False):
            text = b"busy; ask again later\n"
            answer = Answer(503, "text/plain", text, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        else:
            try:
                answer = self.server.answer(request)
            except Exception as error:  # a fault of ours must not look like a file to the client
                self.server.log(f"{address}: fault {type(error).__name__}: {error}")
                answer = Answer(500, "text/plain", b"a fault of the service; see its log on the frontend\n")
            finally:
                self.server.workers.release()
        self._send(answer, body)

    def _send(self, answer: Answer, body: bytes) -> None:
        try:
            if answer.stream:
                self._send_stream(answer, answer.stream)
                return
            report = (
                f" {one_line(body.decode('ascii', 'replace'))[:200]}"
                if body and self.server.logs_bodies
                else ""
            )
            self.server.log(
                f"{self.client_address[0]} {answer.status} {self.path.partition('?')[0][:200]}{report}"
            )
            reason = one_line(answer.reason).encode("ascii", "replace").decode()[:_LONGEST_REASON]
            if answer.file:  # before the first header: a client that has read one must not give way any more
                self.server.allow_file(self.connection, answer.file.length)
            self.send_response(answer.status, reason or None)
            for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
                self.send_header(name, value)
            length = answer.file.length if answer.file else len(answer.body)
            self.send_header("Content-Length", str(length))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if answer.file:
                self._send_file(answer.file)
            else:
                self.wfile.write(answer.body)
        finally:
            if answer.file:
                os.close(answer.file.descriptor)
            if answer.stream:
                answer.stream.close()

    def _send_stream(self, answer: Answer, stream: Stream) -> None:
        self.server.log(f"{self.client_address[0]} {answer.status} {self.path.partition('?')[0][:200]}")
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.server.allow_stream()
        stream.run(self.connection)

    def _send_file(self, part: FilePart) -> None:
        """Send the bytes; a file that has become shorter ends the connection, which the client notices."""
        sent = 0
        while sent < part.length:
            piece = os.pread(part.descriptor, min(_PIECE_BYTES, part.length - sent), part.offset + sent)
            if not piece:
                return
            self.wfile.write(piece)
            self.server.count_taken(len(piece))
            sent += len(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing: the server logs answers."""


class _Head:
    """The bytes from a client: the lines of the head of a request, and then its body."""

    def __init__(self, source: BufferedIOBase, most: int) -> None:
        self._source, self._left = source, most

    def readline(self, size: int) -> bytes:
        """The next line. LineTooLong when the lines so far are too long, which http.server answers in headers."""
        line = self._source.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head")
        return line

    def read(self, size: int) -> bytes:
        """Bytes of the body."""
        return self._source.read(size)

    def close(self) -> None:
        self._source.close()

    @property
    def closed(self) -> bool:
        return self._source.closed


# A small HTTPS server: GET and POST requests, a bound for everything that a client can use up.
#
# A request beyond the bound of `workers` gets 503 with Retry-After. Connections beyond the other bounds are closed, and
# beyond that of all addresses the oldest one of the address with the most gives way, unless it gets a file. If all of
# them get files, the slowest reader gives way, if it takes fewer bytes per second than the bound. A file is sent in
# pieces, after its worker is free again.


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


# Files of a folder for the HTTPS server: nothing outside it, no links, no hidden names; whole files or one range.


_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TYPE = "application/octet-stream"


def open_below(folder: Path, path: str) -> int | None:
    """A descriptor of the regular file at a URL's path below the folder; None when there is none.

    No part of the path may be a symbolic link, `..`, empty, or begin with a dot. HostError for an unreadable file.
    """
    parts = unquote(path, errors="surrogateescape").split("/")
    if not all(parts) or any(part.startswith(".") or "\0" in part for part in parts):
        return None
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            following = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = following
        # a FIFO must not hold the worker
        found = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except PermissionError as error:
        raise HostError(f"cannot read {folder / Path(*parts)}: {error.strerror}") from None
    except OSError:
        return None
    finally:
        os.close(place)
    if stat.S_ISREG(os.fstat(found).st_mode):
        return found
    os.close(found)
    return None


def file_answer(descriptor: int, headers: list[tuple[str, str]]) -> Answer:
    """The answer with the file, or with the range of it that the headers state: 200, 206 or 416."""
    size = os.fstat(descriptor).st_size
    stated = read_range(headers, size)
    if stated is None:
        return Answer(200, _TYPE, b"", {"Accept-Ranges": "bytes"}, FilePart(descriptor, 0, size))
    first, last = stated
    if first > last:
        os.close(descriptor)
        return Answer(416, "text/plain", b"no such range\n", {"Content-Range": f"bytes */{size}"})
    return Answer(
        206,
        _TYPE,
        b"",
        {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{size}"},
        FilePart(descriptor, first, last - first + 1),
    )


def read_range(headers: list[tuple[str, str]], size: int) -> tuple[int, int] | None:
    """First and last byte of the one range that is asked for; None for the whole file.

    The first is beyond the last when nothing of the file is in the range. Several ranges, another unit, and a range
    on a condition (If-Range) are the whole file, as RFC 9110 allows.
    """
    named = {name.lower(): value.strip() for name, value in headers}
    found = _RANGE.fullmatch(named.get("range", ""))
    if found is None or "if-range" in named or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1
