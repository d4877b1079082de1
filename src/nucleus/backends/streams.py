"""Consoles of machines as sockets: what `rocks open host console … stream=yes` relays."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.core.process import finish, start_on_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_END_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


class Stream:
    """An open console: `connection` has its bytes; the caller closes it."""

    def __init__(self, connection: socket.socket, end: Callable[[], str]) -> None:
        self.connection = connection
        self._end = end

    def close(self) -> str:
        """End it; returns the error output of its program."""
        with contextlib.suppress(OSError):
            self.connection.close()
        return self._end()


def open_program(arguments: Sequence[str]) -> Stream:
    """Start a program on a socket. ToolError when it cannot be started."""
    program, connection = start_on_socket(arguments)
    return Stream(connection, lambda: finish(program, _END_SECONDS))


def open_through(path: str, arguments: Sequence[str]) -> Stream:
    """Have the executor behind a socket start it: the connection is the console. HostError when it does not answer."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps({"arguments": list(arguments), "stream": True}).encode() + b"\n")
        connection.settimeout(None)
    except OSError as error:
        connection.close()
        raise HostError(
            f"the executor at {path} does not answer: {error.strerror or error};"
            " run `systemctl status rocks-nucleus-executor.service`"
        ) from None
    return Stream(connection, lambda: "")


def open_echo(greeting: bytes) -> Stream:
    """A console of no machine: a greeting, then everything that is typed. For the simulator."""
    near, far = socket.socketpair()

    def serve() -> None:
        with far, contextlib.suppress(OSError):
            far.sendall(greeting)
            while data := far.recv(65536):
                far.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return Stream(near, lambda: "")
