"""The HTTPS server: connections that end at any moment leave their places free."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest

from rocks.hosts.authority import Authority
from rocks.hosts.https_server import Answer, Bounds, HttpsServer, _cut
from rocks.hosts.x509 import CertificateSpec


@pytest.fixture
def pair(tmp_path: Path) -> bytes:
    """A certificate with its key."""
    authority = Authority(tmp_path / "pki")
    authority.ensure("a site")
    authority.issue(CertificateSpec("head", ["head"], ["127.0.0.1"], 30, True))
    return authority.bundle("head").pair


def _open_connections(server: HttpsServer) -> int:
    deadline = time.monotonic() + 20
    while server._connections.total() and time.monotonic() < deadline:
        time.sleep(0.01)
    return server._connections.total()


def test_connections_that_are_reset_before_their_handshake_free_their_places(pair: bytes) -> None:
    """More of them than one address may have at once; then an ordinary request is answered."""
    log: list[str] = []
    bounds = Bounds(per_address=2, seconds=20)
    with HttpsServer(
        ("127.0.0.1", 0), pair, lambda request: Answer(200, "text/plain", b"x"), log.append, bounds
    ) as server:
        server.timeout = 20
        for _ in range(3):
            client = socket.create_connection(("127.0.0.1", server.server_address[1]))
            client.sendall(b"x")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            server.handle_request()
            assert _open_connections(server) == 0
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.server_address[1], timeout=20, context=context
        )
        connection.request("GET", "/x")
        assert connection.getresponse().read() == b"x"
        connection.close()
        thread.join()
        assert _open_connections(server) == 0
    assert log == ["127.0.0.1 200 /x"]


def test_a_connection_whose_time_has_passed_sends_nothing_without_encryption(pair: bytes) -> None:
    """The thread that answers may be writing a secret while the time ends."""
    near, far = socket.socketpair()
    with HttpsServer(("127.0.0.1", 0), pair, lambda request: Answer(200, "", b""), print) as server:
        secured = server._context.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    with far, secured:
        _cut(secured)
        assert secured._sslobj is not None  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            secured.send(b"secret")
        assert far.recv(16) == b""
