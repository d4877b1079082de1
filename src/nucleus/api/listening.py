"""Where clients connect: the socket of the service, when a connection that does nothing ends, and what one may send.

Connections that wait for their clients are bounded: who opens thousands of them keeps nobody else from connecting.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from rocks.core.errors import HostError

if TYPE_CHECKING:
    import asyncio

    from starlette.datastructures import Headers
    from starlette.types import Scope
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from nucleus.configuration import ListenSettings

HEADER_SECONDS = 20.0
"""How long a client may take to send the headers of a request."""

REST_SECONDS = 60.0
"""How long a client may go on with a request that is answered already, and may then be silent."""

UNREAD_SECONDS = 60
"""How long a client over TCP may read nothing of what was sent to it; the kernel ends its connection then."""

_WAITING = 2048
_PROXY_MODE = 0o660


MAX_HEAD_BYTES = 64 << 10
"""Of a request, besides its body: the line of the request, headers, sizes and extensions of chunks, trailers.

What is read from the socket at once, up to 256 KiB, is parsed before it is counted.
"""

MAX_HEADER_LINES = 100
"""Of the headers and trailers of a request together."""

MAX_PIPELINED = 100
"""Requests of one connection that wait for the answers of earlier ones."""

MAX_WAITING = 4096
"""Connections whose clients have not sent a whole request; beyond them the one that waits longest ends.

The service may have 8192 files open, its connections among them. Images take long: until they are refused, they do not
count.
"""

_UPLOAD = re.compile(r"(/nucleus)?/v1/image(/upload/[^/]+)?/*")

_BYTES_PER_BODY_BYTE = 16
"""So many bytes of sizes of chunks come with each byte of the body: a chunk of one byte has five of its own."""


_NO_HANDSHAKE = "ASGI callable returned without completing handshake."
logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _NO_HANDSHAKE)
"""uvicorn 0.54 (websockets_sansio_impl.py) logs it of each WebSocket that is refused with a body: of a used ticket."""


class Connection(HttpToolsProtocol):
    """uvicorn's, which ends also when the headers of a request do not come, or do not end."""

    _waiting: ClassVar[dict[Connection, None]] = {}
    """Those that wait for a request, or for the rest of one, the longest first."""

    _deadline: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _head_bytes = 0
    _header_lines = 0
    _is_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end_after(HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser rejects, and end the connection: 431 for what is too large."""
        due = self._answering
        if (
            due is not None
            and not due.response_complete
            and (due.response_started or due.scope is not self.scope)
        ):
            self._abort()  # this answer would be taken for that one
            return
        self._end_answer()
        if not self._is_too_large:
            super().send_400_response(msg)
            return
        text = f"more than {MAX_HEADER_LINES} headers, or {MAX_HEAD_BYTES >> 10} KiB of them; send fewer\n".encode()
        head = f"content-type: text/plain\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[431] + head.encode() + text)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_lines = 0
        self._end_after(HEADER_SECONDS)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._end_parsing()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_lines += 1
        if self._header_lines > MAX_HEADER_LINES:
            self._end_parsing()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        super().on_headers_complete()
        is_upload = self.scope.get("method") in ("POST", "PATCH") and _UPLOAD.fullmatch(
            self.scope.get("path", "")
        )
        if not is_upload:
            self._wait()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = max(0, self._head_bytes - len(body) * _BYTES_PER_BODY_BYTE)
        if self.cycle is not None and self.cycle.response_started:
            self._wait()  # of an image that is refused the rest is read for a while
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._deadline is None and not self.pipeline:
            self._end_after(REST_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self._end_answer()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _end_parsing(self) -> None:
        self._is_too_large = True
        raise ValueError("the request is beyond a bound")  # the parser ends with it

    def _end_answer(self) -> None:
        """Nothing more is written of the present answer; uvicorn ends only that to the last request which came."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _abort(self) -> None:
        self._forget_deadline()
        self._end_answer()
        self.transport.abort()

    def _end_after(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self._abort)
        self._wait()

    def _wait(self) -> None:
        self._waiting[self] = None
        if len(self._waiting) > MAX_WAITING:
            next(iter(self._waiting))._abort()  # noqa: SLF001 - one of its own class

    def _forget_deadline(self) -> None:
        self._waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(settings: ListenSettings) -> socket.socket:
    """The socket of the settings. A unix socket is open to the service's group: a proxy is in it, users are not.

    HostError where it cannot be.
    """
    place = settings.socket or f"{settings.address}:{settings.port}"
    try:
        return _at_path(settings.socket) if settings.socket else _at_port(settings.address, settings.port)
    except OSError as error:
        raise HostError(
            f"cannot listen at {place}: {error.strerror or error}; end what listens there, or change [listen] of the"
            " settings"
        ) from None


def _at_path(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(None, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(path)
        raise OSError(None, "another process serves it")
    listener = socket.socket(socket.AF_UNIX)
    new = Path(f"{path}.{os.getpid()}")
    listener.bind(str(new))
    new.chmod(_PROXY_MODE)
    listener.listen(_WAITING)
    new.replace(path)  # once it is there, its mode is right, and it accepts connections
    return listener


def _at_port(address: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.create_server((address, port), family=family, backlog=_WAITING)
    # inherited by its connections; counts also while the other end announces no space for more data
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listener


def forwarded(scope: Scope, headers: Headers) -> Scope:
    """The scope with the client and scheme that the proxy before the socket states.

    The last address counts: it is the one that the proxy saw, and others are what a client has sent.
    """
    changes: Scope = {}
    if headers.get("x-forwarded-proto", "") in ("http", "https"):
        changes["scheme"] = headers["x-forwarded-proto"]
    last = ",".join(headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    with contextlib.suppress(ValueError):
        changes["client"] = (str(ipaddress.ip_address(last)), 0)
    return {**scope, **changes}
