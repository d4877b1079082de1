"""Where clients connect: the socket of the service, and when a connection that does nothing ends."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rocks.core.errors import HostError

if TYPE_CHECKING:
    import asyncio

    from starlette.datastructures import Headers
    from starlette.types import Scope

    from nucleus.configuration import ListenSettings

HEADER_SECONDS = 20.0
"""How long a client may take to send the headers of a request."""

UNREAD_SECONDS = 60
"""How long a client over TCP may read nothing of what was sent to it; the kernel ends its connection then."""

_WAITING = 2048
_PROXY_MODE = 0o660


class Connection(HttpToolsProtocol):
    """uvicorn's, which ends also when the headers of a request do not come."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_headers()

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


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
    new.replace(path)  # nobody connects before the mode is right
    listener.listen(_WAITING)
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
