"""The two processes of a service: a child without rights reads what clients send, and this one answers."""

import contextlib
import ctypes
import http.client
import json
import os
import pwd
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import HostError
from rocks.fleet.https import apart
from rocks.fleet.https.server import Answer, Bounds, FilePart, HttpsServer, Request
from rocks.fleet.relay import relay
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec
from tests.waiting import wait_until

BOUNDS = Bounds(workers=2, body_bytes=1000)
SECRET = b"a secret of root's"


class Echo:
    """A stream that answers with what it gets, by a program's end of a pair of sockets."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.is_closed = False
        threading.Thread(target=self._echo, daemon=True).start()

    def _echo(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.far.recv(100):
                self.far.sendall(data.upper())

    def run(self, connection: socket.socket) -> None:
        relay(connection, self.near.fileno(), lambda: True, 60, 60)

    def close(self) -> None:
        self.is_closed = True
        self.near.close()
        self.far.close()


class Service:
    """A service with TLS and one without, whose answers are made in a thread of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.requests, self.log = folder, list[Request](), list[str]()
        self.echo = Echo()
        authority = Authority(folder / "pki")
        authority.ensure("a site")
        authority.issue(CertificateSpec("head", ["head"], ["127.0.0.1"], 30, True))
        self.pair = authority.bundle("head").pair
        self.secured = HttpsServer(
            ("127.0.0.1", 0), self.pair, self.answer, self.log.append, BOUNDS, lambda: self.pair
        )
        self.plain = HttpsServer(("127.0.0.1", 0), None, self.answer, self.log.append, BOUNDS)
        self.child = 0

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.path == "/file":
            descriptor = os.open(self.folder / "secret", os.O_RDONLY)
            return Answer(200, "text/plain", b"", {"X-One": "1"}, FilePart(descriptor, 2, 6))
        if request.path == "/large":
            return Answer(200, "text/plain", b"x" * 3_000_000)
        if request.path == "/stream":
            return Answer(101, "", b"", {"Upgrade": "x", "Connection": "Upgrade"}, stream=self.echo)
        if request.path == "/fault":
            raise ZeroDivisionError("division by zero")
        return Answer(404, "text/plain", request.body, reason="nothing there")

    def connection(self, is_secured: bool = True) -> http.client.HTTPConnection:
        server = self.secured if is_secured else self.plain
        if not is_secured:
            return http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", server.server_address[1], timeout=60, context=context)

    def get(self, path: str, is_secured: bool = True, **options: object) -> tuple[int, bytes]:
        connection = self.connection(is_secured)
        with contextlib.closing(connection):
            connection.request("POST" if options else "GET", path, **options)  # type: ignore[arg-type]
            found = connection.getresponse()
            return found.status, found.read()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    made = Service(tmp_path)
    fork, ended = os.fork, list[BaseException]()

    def remembered() -> int:
        made.child = fork()
        return made.child

    monkeypatch.setattr(apart.os, "fork", remembered)

    def run() -> None:
        try:
            apart.serve([made.secured, made.plain])
        except HostError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: made.child)
    yield made
    os.kill(made.child, signal.SIGKILL)
    thread.join(60)
    assert "the process that reads requests has ended" in str(ended[0])


def test_requests_are_answered_by_the_process_with_rights(service: Service) -> None:
    """Files, which the child cannot open, large answers, faults; whose a request is says the kernel."""
    assert service.get("/x", body=b"\0\xff text") == (404, b"\0\xff text")
    one = service.requests[-1]
    assert (one.address, one.path, one.method, one.body) == ("127.0.0.1", "/x", "POST", b"\0\xff text")
    assert one.port > 0 and ("Content-Length", "7") in one.headers
    for is_secured in (True, False):
        assert service.get("/file", is_secured) == (200, SECRET[2:8])
    assert service.get("/large") == (200, b"x" * 3_000_000)
    assert service.get("/fault")[0] == 500
    assert service.log == ["127.0.0.1: fault ZeroDivisionError: division by zero"]


def test_a_stream_goes_on_over_the_connection(service: Service) -> None:
    connection = service.connection()
    with contextlib.closing(connection):
        connection.request("GET", "/stream")
        assert connection.sock is not None
        way = connection.sock
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += way.recv(1)
        assert head.startswith(b"HTTP/1.0 101")
        way.sendall(b"hello")
        assert way.recv(100) == b"HELLO"
    wait_until(lambda: service.echo.is_closed)


def test_the_child_has_no_rights_and_no_other_descriptor(service: Service) -> None:
    assert service.get("/x")[0] == 404
    status = Path(f"/proc/{service.child}/status").read_text("ascii")
    read = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = next(user for user in pwd.getpwall() if user.pw_name in apart.USERS)
    assert read["Uid"].split() == [str(user.pw_uid)] * 4 and read["Gid"].split() == [str(user.pw_gid)] * 4
    assert read["Groups"].strip() == "" and int(read["CapEff"], 16) == int(read["CapPrm"], 16) == 0
    folder = Path(f"/proc/{service.child}/fd")
    opened = []
    for one in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # of the connection that ends just now
            opened += [str(one.readlink())] if int(one.name) > 2 else []
    sockets = [one for one in opened if one.startswith("socket:")]
    assert {one for one in opened if not one.startswith("socket:")} <= {os.devnull, "anon_inode:[eventpoll]"}
    # two for connections, two for certificates, and those of a connection that ends just now
    assert 4 <= len(sockets) <= 8


def test_a_child_that_was_taken_over_asks_only_for_connections_that_were_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot name another connection: by a socket, a file, or a connection of its own to what listens elsewhere."""
    tmp_path.chmod(0o755)
    made, elsewhere = Service(tmp_path), socket.create_server(("127.0.0.9", 0))
    output, output_far = socket.socketpair()
    keep_only, serve_all, main = apart._keep_only, apart._serve_all, os.getpid()
    monkeypatch.setattr(apart, "_keep_only", lambda stay: keep_only(stay | {output_far.fileno()}))

    def say(*parts: object) -> None:
        output_far.sendall(f"{' '.join(map(str, parts))}\n".encode())

    def asked(path: str, asking: socket.socket) -> object:
        question = {"path": path, "headers": [], "method": "GET", "body": ""}
        asking.settimeout(20)
        try:
            apart._send_frame(asking, json.dumps(question).encode())
            return apart._received_head(asking)[0]["status"]
        except (OSError, EOFError):
            return "no answer"

    def attack(servers: list[HttpsServer]) -> None:
        if os.getpid() == main:
            serve_all(servers)
        server, port = servers[1], servers[1].server_address[1]
        listening = [
            one.getsockname()
            for opened in [*Path("/proc/self/fd").iterdir()]
            for one in _sockets_of_the_internet(int(opened.name))
        ]
        say("listening", listening)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", port))
        udp.connect(("127.0.0.77", 1023))
        near, far = socket.socketpair()
        with Path("/etc/passwd").open("rb") as file:
            for sent in ([far.fileno(), udp.fileno()], [far.fileno(), file.fileno()], [file.fileno()]):
                socket.send_fds(server.socket, [b"\0"], sent)
        far.close()
        say("udp or file", asked("/udp", near))
        for path in ("/true", "/again", "/outward"):
            connection: Any = server.socket.accept()[0]
            if path == "/outward":
                nobody = struct.pack("H14x", socket.AF_UNSPEC)
                say("disconnected", ctypes.CDLL(None).connect(connection.fileno(), nobody, len(nobody)))
                connection.connect(elsewhere_name)
            say(path, asked(path, connection.asking))
            if path == "/true":
                say("twice", asked("/twice", connection.asking))
            connection.close()
        os._exit(3)

    elsewhere_name = elsewhere.getsockname()
    monkeypatch.setattr(apart, "_serve_all", attack)
    clients = [socket.create_connection(made.plain.server_address) for _ in range(3)]
    with pytest.raises(HostError, match="the process that reads requests has ended"):
        apart.serve([made.secured, made.plain])
    output_far.close()
    seen = b"".join(iter(lambda: output.recv(10_000), b"")).decode().splitlines()
    assert seen == [
        "listening []",
        "udp or file no answer",
        "/true 404",
        "twice no answer",
        "/again 404",
        "disconnected 0",
        "/outward no answer",
    ]
    names = [client.getsockname() for client in clients]
    assert [((one.address, one.port), one.path) for one in made.requests] == [
        (names[0], "/true"),
        (names[1], "/again"),
    ]
    for one in (*clients, elsewhere, output):
        one.close()


def _sockets_of_the_internet(number: int) -> list[socket.socket]:
    with contextlib.suppress(OSError):
        one = socket.socket(fileno=os.dup(number))
        return [one] if one.family == socket.AF_INET else []
    return []


def _opened() -> set[str]:
    """What this process has open; a socket has its inode's number in it, so that no other one is taken for it."""
    found = set()
    for one in [*Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(FileNotFoundError):
            found.add(str(one.readlink()))
    return found


def test_a_connection_ends_without_a_question_and_leaves_nothing(service: Service) -> None:
    """The process with rights has the connection, too, and closes it when the child has closed it."""

    def exchange(text: bytes) -> None:
        with socket.create_connection(service.plain.server_address, timeout=20) as client:
            client.sendall(text)
            while client.recv(1000):
                pass

    exchange(b"no HTTP\r\n\r\n")  # the service waits for connections, and has opened what it waits with
    before = _opened()
    exchange(b"no HTTP\r\n\r\n")
    exchange(b"POST / HTTP/1.0\r\n\r\n")
    wait_until(lambda: _opened() <= before, lambda: _opened() - before)
    assert service.requests == []
