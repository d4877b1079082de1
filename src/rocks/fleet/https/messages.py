"""Requests and answers of the HTTPS server, as the services see them."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rocks.core.dataclasses import dataclass

if TYPE_CHECKING:
    import socket

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
