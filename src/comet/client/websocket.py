"""The client's half of a WebSocket (RFC 6455), enough for a serial console: binary messages, ping, close.

It is our own, since a library would be the only dependency on most machines, for one option of one command;
as an extra it would be missing where it is needed first. Compression, fragments and a server's half are left
out.
"""

from __future__ import annotations

import base64
import contextlib
import email
import hashlib
import os
from email.message import Message
from typing import Any, Optional
from urllib.parse import urlsplit

from comet.client.connection import Connection, error_of
from comet.client.errors import (
    NO_NUCLEUS,
    TICKET_USED,
    CometError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_LARGEST = 1 << 20
_SENT = ("Accept", "Authorization")


class WebSocket:
    """An open WebSocket; `socket` is for select. Every method raises UnreachableError when it breaks.

    RefusedError with the slug TICKET_USED when the path's ticket was used or is too old, and with what the site says of
    one console too many; NotFoundError when it refuses without a reason.
    """

    def __init__(self, connection: Connection, path: str) -> None:
        self.socket: Any = connection.socket()
        self._received = b""
        self.is_closed = False
        """The server has closed it; what it sent before was received."""
        key = base64.b64encode(os.urandom(16)).decode()
        status, headers = self._ask(connection, path, key)
        if status != "101":
            refusal = self._refusal(status, headers)
            self.socket.close()
            raise refusal
        if headers["Sec-WebSocket-Accept"] != _accepted(key):
            self.close()
            raise UnreachableError("the server's answer is not that of a WebSocket")

    def _ask(self, connection: Connection, path: str, key: str) -> tuple[str, Message]:
        """Status and headers of the answer; what follows them is in `_received`."""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {urlsplit(connection.endpoint.url).netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: binary",
            *(f"{name}: {value}" for name, value in connection.headers().items() if name in _SENT),
        ]
        try:
            self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            while b"\r\n\r\n" not in self._received:
                self._more()
                if len(self._received) > 65536:
                    raise UnreachableError("the server's answer to a WebSocket has no end")
        except OSError as error:
            raise UnreachableError(f"the console cannot be reached: {error}") from error
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        status = (first.decode("latin-1").split(" ") + [""])[1]
        return status, email.message_from_string(rest.decode("latin-1"))  # of bytes, odd values are no text

    def _refusal(self, status: str, headers: Message) -> CometError:
        code = int(status[:3]) if status[:3].isdecimal() else 403
        refusal = error_of(code, headers, self._body(headers))
        if refusal.slug == TICKET_USED:
            return RefusedError(
                "the ticket of this console was used, or is older than 30 s: run the command again",
                TICKET_USED,
            )
        if refusal.slug not in ("", NO_NUCLEUS):
            return refusal
        return NotFoundError(
            f"the site did not open this console ({status[:20]}): too many may be open, or its host does not "
            "answer. Close others and run the command again; if it stays so, ask the site's operators"
        )

    def send(self, data: bytes, opcode: int = _BINARY) -> None:
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        if size > 65535:
            length = b"\xff" + size.to_bytes(8, "big")
        mask = os.urandom(4)
        masked = bytes(it ^ mask[index % 4] for index, it in enumerate(data))
        try:
            self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)
        except OSError as error:
            raise UnreachableError(f"the console is gone: {error}") from error

    def receive(self) -> bytes:
        """What came, perhaps b"" (only a ping, or the server has closed)."""
        try:
            self._more()
        except OSError as error:
            raise UnreachableError(f"the console is gone: {error}") from error
        return self.received()

    def received(self) -> bytes:
        """As `receive`, of what is here already: the first bytes may have come with the answer to the handshake."""
        found = b""
        while (frame := self._frame()) is not None:
            opcode, data = frame
            if opcode == _CLOSE:
                self.is_closed = True
                break
            if opcode == _PING:
                self.send(data, _PONG)
            elif opcode in (_CONTINUATION, _TEXT, _BINARY):
                found += data
        return found

    def close(self) -> None:
        try:
            self.send(b"\x03\xe8", _CLOSE)
        except UnreachableError:
            pass  # the server was first
        self.socket.close()

    def _body(self, headers: Message) -> bytes:
        """What a refusal says, as far as it comes."""
        length = headers.get("Content-Length", "")
        expected = (
            min(int(length), 65536) if length.isascii() and length.isdigit() and len(length) < 10 else 0
        )
        with contextlib.suppress(OSError):
            while len(self._received) < expected:
                self._more()
        return self._received

    def _more(self) -> None:
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionResetError("the server has ended it")
        self._received += part

    def _frame(self) -> Optional[tuple[int, bytes]]:
        """The next whole frame, or None."""
        data = self._received
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if size > _LARGEST or data[1] & 0x80:
            raise UnreachableError("the console sends what is not one of a WebSocket's frames")
        if len(data) < start + size:
            return None
        self._received = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]


def _accepted(key: str) -> str:
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
    return base64.b64encode(digest.digest()).decode()
