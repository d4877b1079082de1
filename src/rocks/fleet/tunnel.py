"""A unix socket of this machine that leads to a socket of a host, over SSH; and a port that leads to a unix socket."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError
from rocks.core.process import start_with_pipes
from rocks.fleet.openssh import ssh_arguments
from rocks.fleet.settings import FleetSettings, HostAddress

LOOPBACK = "127.0.0.1"
_MARGIN_SECONDS = 5.0
_END_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CHUNK_BYTES = 65536
_MAX_VIEWERS = 8
"""Of a screen, through a port: every user of this machine can connect to it."""


class Tunnel:
    """`ssh` that carries the socket `path` of this machine to `far_end` on the host."""

    def __init__(self, host: HostAddress, far_end: str, path: str, settings: FleetSettings) -> None:
        self.path = path
        self._host = host.name
        # sshd repeats what it reads: the answer states that the tunnel is open, the end of the input closes it
        options = ("-o", "ExitOnForwardFailure=yes", "-L", f"{path}:{far_end}")
        self._process = start_with_pipes([*ssh_arguments(host, settings, options), "cat"])
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input, self._output = self._process.stdin, self._process.stdout
        self._error_output = self._process.stderr

    def wait_until_open(self, deadline_seconds: float) -> None:
        """HostError when the tunnel is not open in time."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write(b"\n")
            self._input.flush()
        poller = select.poll()
        poller.register(self._output, select.POLLIN)
        if not poller.poll(deadline_seconds * 1000):
            raise HostError(f"{self._host} did not open the way to the screen within {deadline_seconds:g} s")
        if not self._output.read(1):
            reason = (
                self._error_output.read(_CHUNK_BYTES).decode("utf-8", "replace").strip().replace("\n", "; ")
            )
            raise HostError(
                f"{self._host} did not open the way to the screen: {reason or 'ssh gave no reason'}"
            )

    def wait(self) -> None:
        """Wait until the connection to the host ends: HostError."""
        self._process.wait()
        raise HostError(f"the connection to {self._host} has ended")

    def close(self) -> None:
        """End the tunnel, also when a viewer holds its connection."""
        with contextlib.suppress(OSError):
            self._input.close()
        deadline = Deadline(_END_SECONDS)
        while self._process.poll() is None and not deadline.passed():
            wait_seconds(_POLL_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()
        self._error_output.close()


@contextmanager
def open_tunnel(host: HostAddress, far_end: str, runtime_folder: str) -> Iterator[Tunnel]:
    """A socket in a new folder, which only this user reaches, for `far_end`: a socket of the host, or `address:port`.

    Closed and removed afterwards, also the tunnel when this process is killed. HostError when it cannot be opened.
    """
    settings = FleetSettings()
    with _folder(runtime_folder) as folder:
        tunnel = Tunnel(host, far_end, f"{folder}/socket", settings)
        try:
            tunnel.wait_until_open(
                settings.connect_deadline_seconds + settings.login_deadline_seconds + _MARGIN_SECONDS
            )
            yield tunnel
        finally:
            tunnel.close()


@contextmanager
def relayed(path: str) -> Iterator[int]:
    """A port of the loopback that leads to the unix socket at `path`, for every user of this machine."""
    with socket.create_server((LOOPBACK, 0)) as server:
        threading.Thread(target=_accept, args=(server, path), daemon=True).start()
        port: int = server.getsockname()[1]
        try:
            yield port
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts


@contextmanager
def _folder(parent: str) -> Iterator[str]:
    try:
        folder = tempfile.mkdtemp(prefix="rocks-console-", dir=parent)  # of mode 0700
    except OSError as error:
        raise HostError(f"cannot make a folder in {parent} of this machine: {error.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _accept(server: socket.socket, path: str) -> None:
    places = threading.BoundedSemaphore(_MAX_VIEWERS)
    with contextlib.suppress(OSError):  # the server was closed
        while True:
            client, _ = server.accept()
            if places.acquire(blocking=False):
                threading.Thread(target=_relay, args=(client, path, places), daemon=True).start()
            else:
                client.close()


def _relay(client: socket.socket, path: str, places: threading.BoundedSemaphore) -> None:
    with contextlib.suppress(OSError), client, socket.socket(socket.AF_UNIX) as screen:
        screen.connect(path)
        threading.Thread(target=_copy, args=(screen, client), daemon=True).start()
        _copy(client, screen)
    places.release()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
