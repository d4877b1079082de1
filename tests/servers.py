"""Servers in threads of this process, and ports of this machine."""

import contextlib
import itertools
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

_ports = itertools.count()

Server = TypeVar("Server", bound=socketserver.BaseServer)


@contextlib.contextmanager
def answering(server: Server) -> Iterator[Server]:
    """The server answers in a thread until the end of the block, and is closed then."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens, below those that the kernel gives clients, of this worker alone."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(1000):
        port = 20000 + 1000 * (worker % 12) + next(_ports) % 1000
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def connected_when_named(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """(path, mode) of each unix socket that gets its name from now on, to which a connection is made at that moment."""
    replace, named = Path.replace, list[tuple[Path, int]]()

    def replaced(new: Path, path: Path | str) -> None:
        replace(new, path)
        named.append((Path(path), Path(path).stat().st_mode & 0o777))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    monkeypatch.setattr(Path, "replace", replaced)
    return named
