"""urllib's handlers of http and https, whose answers end at a deadline.

A timeout of the socket begins anew with each byte: a server that sends one now and then is read for ever.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
from typing import Any, Optional
from urllib import request as requests

from rocks.core.clock import Deadline


class _Reader(io.RawIOBase):
    """What a server sends, until the deadline: then it raises `socket.timeout`."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection, self._deadline = connection, deadline
        self._silence_seconds = connection.gettimeout()
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        left = self._deadline.remaining_seconds()
        if left is not None:
            if not left:
                raise socket.timeout
            self._connection.settimeout(min(left, self._silence_seconds or left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(connection, deadline))


class _Bounded(requests.AbstractHTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: requests.Request, **options: Any) -> Any:
        def connect(*args: Any, **values: Any) -> Any:
            connection = http_class(*args, **values)
            connection.response_class = functools.partial(_Response, deadline=self._deadline)
            return connection

        return super().do_open(connect, req, **options)


class HttpHandler(_Bounded, requests.HTTPHandler):
    """Of http."""


class HttpsHandler(_Bounded, requests.HTTPSHandler):
    """Of https."""
