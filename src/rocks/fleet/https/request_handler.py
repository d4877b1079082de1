"""Reads one request of a connection of the HTTPS server, and sends its answer."""

from __future__ import annotations

import os
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from rocks.core.terminal import one_line
from rocks.fleet.https.messages import RETRY_AFTER_SECONDS, Answer, FilePart, Request, Stream

if TYPE_CHECKING:
    from io import BufferedIOBase

    from rocks.fleet.https.server import HttpsServer

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
