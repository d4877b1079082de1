"""The HTTPS server: connections that end at any moment leave their places free."""

import contextlib
import http.client
import os
import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from rocks.fleet.https.server import Answer, Bounds, FilePart, HttpsServer, Request, _cut
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec
from tests.servers import answering
from tests.waiting import wait_until


@pytest.fixture
def pair(tmp_path: Path) -> bytes:
    """A certificate with its key."""
    authority = Authority(tmp_path / "pki")
    authority.ensure("a site")
    authority.issue(CertificateSpec("head", ["head"], ["127.0.0.1"], 30, True))
    return authority.bundle("head").pair


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
            wait_until(lambda: not server.places._connections)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.server_address[1], timeout=120, context=context
        )
        connection.request("GET", "/x")
        assert connection.getresponse().read() == b"x"
        connection.close()
        thread.join()
        wait_until(lambda: not server.places._connections)
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


@pytest.mark.parametrize("is_secured", [True, False])
def test_silent_connections_of_many_addresses_give_way(pair: bytes, is_secured: bool) -> None:
    """A machine can have as many addresses as it likes."""
    bounds = Bounds(connections=4, per_address=2, seconds=60)
    answer = Answer(200, "text/plain", b"x")
    made = HttpsServer(("127.0.0.1", 0), pair if is_secured else None, lambda request: answer, print, bounds)
    with answering(made) as server:
        port = server.server_address[1]
        silent = [
            socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.1.{1 + number // 2}", 0))
            for number in range(8)
        ]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=context)
            if is_secured
            else http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        )
        connection.request("GET", "/x")
        assert connection.getresponse().read() == b"x"
        connection.close()
        for one in silent:
            one.close()
        wait_until(lambda: not server.places._connections)


def test_a_reader_that_takes_nothing_gives_way_and_one_that_reads_does_not(tmp_path: Path) -> None:
    """Files are sent to as many silent readers as there are places; then a machine asks."""
    size = 20_000_000
    (tmp_path / "file").write_bytes(bytes(size))

    def answer(request: Request) -> Answer:
        if request.path == "/x":
            return Answer(200, "text/plain", b"x")
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        return Answer(200, "text/plain", b"", file=FilePart(descriptor, 0, size))

    bounds = Bounds(connections=3, per_address=8, bytes_per_second=10**12, patience_seconds=0)
    with answering(HttpsServer(("127.0.0.1", 0), None, answer, print, bounds)) as server:
        place = ("127.0.0.1", server.server_address[1])
        readers = []
        for _ in range(3):
            reader = http.client.HTTPConnection(*place, timeout=120)
            reader.request("GET", "/file")
            readers.append(reader.getresponse())
        assert len(readers[1].read(5_000_000)) == 5_000_000
        assert len(readers[2].read(9_000_000)) == 9_000_000
        other = http.client.HTTPConnection(*place, timeout=120)
        other.request("GET", "/x")
        assert other.getresponse().read() == b"x"
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            readers[0].read()
        assert len(readers[1].read()) == size - 5_000_000
        assert len(readers[2].read()) == size - 9_000_000


def test_a_connection_that_gets_a_file_does_not_give_way(pair: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20_000_000))

    def answer(request: Request) -> Answer:
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        return Answer(200, "text/plain", b"", file=FilePart(descriptor, 0, 20_000_000))

    bounds = Bounds(connections=1, seconds=60)
    with answering(HttpsServer(("127.0.0.1", 0), None, answer, print, bounds)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=120)
        connection.request("GET", "/file")
        response = connection.getresponse()
        with socket.create_connection(("127.0.0.1", server.server_address[1])) as other:
            other.settimeout(120)
            assert other.recv(1) == b""
        assert len(response.read()) == 20_000_000
        connection.close()


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"GET /", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
        (b"GET / HTTP/1.1\r\nA: ", b"a" * 65536),
        (b"GET / HTTP/1.1\r\n", (b"a: " + b"b" * 4000 + b"\r\n") * 16),
    ],
)
def test_a_head_without_an_end_is_refused(begin: bytes, endless: bytes) -> None:
    with HttpsServer(("127.0.0.1", 0), None, lambda request: Answer(200, "", b""), print) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with socket.create_connection(server.server_address[:2], 120) as client:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for part in (begin, *[endless] * 1600):
                    client.sendall(part)
            assert b" 431 " in client.recv(100)
        thread.join()
        wait_until(lambda: not server.places._connections)
