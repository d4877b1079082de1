"""Transfers over real TLS on loopback: a program's whole output arrives at another program, or an error."""

import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, IncoherentError, ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.stream import waiting
from rocks.storage.stream.pace import Bucket
from rocks.storage.stream.pump import receive_program, send_program
from rocks.storage.stream.revocation import RevocationWatch
from rocks.storage.stream.transport import (
    Connection,
    Identity,
    StreamServer,
    client_context,
    connect,
    server_context,
)
from rocks.storage.stream.waiting import MAX_OF_AN_ADDRESS
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec
from tests.patience import patience
from tests.waiting import wait_until

_SIZE_BYTES = 9_000_001


class Site:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = Authority(folder)
        self._authority.ensure(f"authority {folder.name}")
        self.certificate = folder / "ca.crt"

    def identity(self, name: str) -> Identity:
        """That of a node, which is made once."""
        pair = self._folder / f"{name}.pair"
        if not pair.exists():
            self._authority.issue(CertificateSpec(name, [name], [], 1))
            pair.touch(mode=0o600)
            pair.write_bytes(self._authority.bundle(name).pair)
        return Identity(pair, pair, self.certificate)

    def revoke(self, name: str) -> None:
        """Add the node's certificate to the revocation list beside the authority's certificate."""
        self._authority.revoke(name)


class ProgramOf:
    """A program whose output, or input, is a stream."""

    def __init__(self, command: list[str], *, reads: bool) -> None:
        self._process = start_with_pipes(command)
        self.stream = cast(BinaryIO, self._process.stdin if reads else self._process.stdout)
        if not reads:
            cast(BinaryIO, self._process.stdin).close()

    def finish(self, deadline: Deadline) -> None:
        if self._process.wait(deadline.remaining_seconds()) != 0:
            error_text = cast(BinaryIO, self._process.stderr).read().decode().strip()
            raise ToolError(f"the program failed: {error_text}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def reading(script: str, *arguments: str) -> ProgramOf:
    return ProgramOf(["sh", "-c", script, "sh", *arguments], reads=True)


def printing(script: str, *arguments: str) -> ProgramOf:
    return ProgramOf(["sh", "-c", script, "sh", *arguments], reads=False)


@pytest.fixture
def authority(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Random data of an odd length."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(_SIZE_BYTES))
    return path


Start = Callable[[Callable[[Connection], None]], StreamServer]


@pytest.fixture
def start(authority: Site) -> Iterator[Start]:
    """A listening NAS that serves connections by the given function."""
    servers: list[StreamServer] = []
    identity = authority.identity("nas-0-0")
    revocations = RevocationWatch(identity.authority, check_seconds=0.1)
    revocations.start()

    def listen(serve: Callable[[Connection], None]) -> StreamServer:
        servers.append(StreamServer(lambda: server_context(identity), "127.0.0.1", 0, serve, 2, revocations))
        return servers[-1]

    yield listen
    for server in servers:
        server.close()
    revocations.close()


def ignore(size_bytes: int) -> None:
    """Counts nothing."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def send_file(connection: Connection, path: Path) -> None:
    """Send the file."""
    send_program(printing('cat "$1"', str(path)), connection.writer, Bucket(), ignore)


def connected(identity: Identity, port: int, opening: bytes = b"fetch") -> AbstractContextManager[Connection]:
    """A connection of that node to the NAS."""
    return connect(client_context(identity), "127.0.0.1", port, "nas-0-0", opening)


def fetch(authority: Site, port: int, target: Path) -> None:
    """Write what the NAS sends to a file, as the host vmh1."""
    with connected(authority.identity("vmh1"), port) as connection:
        receive_program(connection.reader, reading('cat >"$1"', str(target)), ignore)


def test_stream_of_a_program_arrives_in_another(
    authority: Site, start: Start, source: Path, tmp_path: Path
) -> None:
    """Both directions, and each end knows the other by its certificate and the opening line."""
    seen: list[tuple[str, bytes]] = []
    up = tmp_path / "up"

    def serve(connection: Connection) -> None:
        seen.append((connection.peer, connection.opening))
        if connection.opening == b"fetch":
            send_file(connection, source)
        else:
            receive_program(connection.reader, reading('cat >"$1"', str(up)), ignore)
            connection.writer.write(b"done\n")

    server = start(serve)
    host = authority.identity("vmh1")
    down = tmp_path / "down"
    counted: list[int] = []
    with connected(host, server.port) as connection:
        received = receive_program(connection.reader, reading('cat >"$1"', str(down)), counted.append)
    assert received == _SIZE_BYTES == sum(counted)
    assert digest(down) == digest(source)
    with connected(host, server.port, b"bring") as connection:
        send_file(connection, source)
        assert connection.reader.readline() == b"done\n"
    assert digest(up) == digest(source)
    assert seen == [("vmh1", b"fetch"), ("vmh1", b"bring")]


class Wire:
    """A forwarder before a NAS that changes what the NAS sends: gets each piece, returns what goes on."""

    def __init__(self, port: int, change: Callable[[int, bytes], bytes]) -> None:
        self._change = change
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._forward, daemon=True).start()

    def _forward(self) -> None:
        nas = socket.create_connection(("127.0.0.1", self._target))
        with self._listener, nas, self._listener.accept()[0] as host:
            threading.Thread(target=self._pass_on, args=(host, nas), daemon=True).start()
            done = 0
            with suppress(OSError):
                while piece := nas.recv(16384):
                    host.sendall(self._change(done, piece))
                    done += len(piece)
            with suppress(OSError):
                host.shutdown(socket.SHUT_WR)

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(16384):
                target.sendall(piece)


def at(place: int, change: Callable[[bytes], bytes]) -> Callable[[int, bytes], bytes]:
    """Changes the one piece in which that byte of the connection is."""
    return lambda done, piece: change(piece) if done <= place < done + len(piece) else piece


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a changed byte": lambda piece: piece[:-1] + bytes([piece[-1] ^ 1]),
    "a missing byte": lambda piece: piece[:-1],
    "a missing piece": lambda piece: b"",
    "a repeated piece": lambda piece: piece + piece,
    "two halves in the other order": lambda piece: piece[len(piece) // 2 :] + piece[: len(piece) // 2],
}


@pytest.mark.parametrize("change", sorted(CHANGES))
# the last piece of the connection may hold up to 16384 bytes: repeated after the end it would be no damage
@pytest.mark.parametrize("place", [50_000, 4_000_000, _SIZE_BYTES - 40_000])
def test_damage_on_the_way_is_detected_by_tls(
    authority: Site, start: Start, source: Path, tmp_path: Path, change: str, place: int
) -> None:
    """Anywhere in the stream: the receiver gets a beginning of it, never all of it, and an error."""

    def serve(connection: Connection) -> None:
        with suppress(OSError):
            send_file(connection, source)

    wire = Wire(start(serve).port, at(place, CHANGES[change]))
    target = tmp_path / "target"
    with pytest.raises(HostError, match="was cut off|before its end"):
        fetch(authority, wire.port, target)
    received = target.read_bytes()
    assert len(received) < _SIZE_BYTES
    assert source.read_bytes().startswith(received)


def test_an_unchanged_wire_transfers_all(authority: Site, start: Start, source: Path, tmp_path: Path) -> None:
    """So that the errors above are those of the damage."""
    server = start(lambda connection: send_file(connection, source))
    wire = Wire(server.port, lambda done, piece: piece)
    target = tmp_path / "target"
    fetch(authority, wire.port, target)
    assert digest(target) == digest(source)


def test_the_receiver_raises_the_error_of_the_sending_program(
    authority: Site, start: Start, tmp_path: Path
) -> None:
    """The receiving program has not got the last part, though the whole output was sent."""

    def serve(connection: Connection) -> None:
        with pytest.raises(ToolError):
            send_program(
                printing("head -c 3000000 /dev/zero; echo no such snapshot >&2; exit 1"),
                connection.writer,
                Bucket(),
                ignore,
            )

    target = tmp_path / "target"
    with pytest.raises(ToolError, match="no such snapshot"):
        fetch(authority, start(serve).port, target)
    assert target.stat().st_size < 3_000_000


def test_the_error_of_the_receiving_program_is_raised_with_its_message(
    authority: Site, start: Start, source: Path
) -> None:
    """And the sending program ends."""
    ended = threading.Event()

    def serve(connection: Connection) -> None:
        try:
            send_program(
                printing('cat "$1"; cat "$1"; cat "$1"', str(source)), connection.writer, Bucket(), ignore
            )
        except OSError:
            ended.set()

    server = start(serve)
    with (
        pytest.raises(ToolError, match="out of space"),
        connected(authority.identity("vmh1"), server.port) as connection,
    ):
        receive_program(connection.reader, reading("echo out of space >&2; exec <&-; exit 1"), ignore)
    assert ended.wait(120)


def test_certificate_of_another_authority_is_rejected_at_both_ends(
    authority: Site, start: Start, tmp_path: Path
) -> None:
    """Neither as a host nor as a NAS."""
    served: list[str] = []
    server = start(lambda connection: served.append(connection.peer))
    stranger = Site(tmp_path / "stranger").identity("vmh1")
    mixed = Identity(stranger.certificate, stranger.key, authority.certificate)
    with (
        pytest.raises((HostError, ssl.SSLError)),
        connected(mixed, server.port) as connection,
    ):
        if not connection.reader.readline():
            raise HostError("refused")
    with pytest.raises(IncoherentError, match="not its own"), connected(stranger, server.port):
        pass
    with (
        pytest.raises(IncoherentError, match="not its own"),
        connect(client_context(authority.identity("vmh1")), "127.0.0.1", server.port, "nas-0-9", b"fetch"),
    ):
        pass
    with connected(authority.identity("vmh2"), server.port) as connection:
        assert not connection.reader.readline()
    wait_until(lambda: not any(thread.name == "transfer" for thread in threading.enumerate()))
    assert served == ["vmh2"]


def test_connections_beyond_the_limit_wait(authority: Site, start: Start) -> None:
    """Two are served at once; the third after one of them has ended."""
    leave = threading.Event()
    inside: list[str] = []

    def serve(connection: Connection) -> None:
        inside.append(connection.peer)
        leave.wait(120)

    server = start(serve)

    def ask(name: str) -> None:
        with connected(authority.identity(name), server.port) as connection:
            connection.reader.readline()

    threads = [threading.Thread(target=ask, args=(f"vmh{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(inside) >= 2 and server._turns._peers.total() == 1)  # the third waits
    assert len(inside) == 2
    leave.set()
    for thread in threads:
        thread.join(120)
    assert len(inside) == 3


def test_idle_connections_hold_up_no_transfer(
    authority: Site, start: Start, source: Path, tmp_path: Path
) -> None:
    """Two hundred that send nothing, from the address of the honest host and from another; then half a handshake."""
    server = start(lambda connection: send_file(connection, source))
    target = tmp_path / "target"
    idle = [
        socket.create_connection(("127.0.0.1", server.port), source_address=(f"127.0.0.{1 + number % 2}", 0))
        for number in range(200)
    ]
    for number, one in enumerate(idle):
        with suppress(OSError):  # it may have given way
            one.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])
    try:
        fetch(authority, server.port, target)
        assert digest(target) == digest(source)
        assert sum(is_open(one) for one in idle) <= 2 * MAX_OF_AN_ADDRESS
    finally:
        for one in idle:
            one.close()


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1000) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_slow_first_line_ends_at_its_deadline(
    authority: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte at a time extends nothing, although its certificate is valid; it is never served."""
    monkeypatch.setattr(waiting, "OPENING_SECONDS", patience(1.0))
    served: list[bytes] = []
    server = start(lambda connection: served.append(connection.opening))
    host = authority.identity("vmh1")
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        client_context(host).wrap_socket(plain, server_hostname="nas-0-0") as stream,
        pytest.raises(OSError),  # noqa: PT011 - which one depends on the moment
    ):
        for _ in range(300):
            stream.sendall(b"x")
            time.sleep(0.1)
    with connected(host, server.port, b"whole") as connection:
        assert not connection.reader.readline()
    assert served == [b"whole"]


def test_revoked_certificate_of_a_host_ends_its_open_transfer(authority: Site, start: Start) -> None:
    """At the NAS, in the middle of the transfer; another node's continues."""
    begun: list[str] = []
    got: dict[str, bytes] = {}

    def serve(connection: Connection) -> None:
        begun.append(connection.peer)
        try:
            got[connection.peer] = connection.reader.readline()
        except OSError:
            got[connection.peer] = b""

    server = start(serve)
    identities = {name: authority.identity(name) for name in ("vmh1", "vmh2")}
    with connected(identities["vmh2"], server.port, b"a") as other:
        with connected(identities["vmh1"], server.port, b"a") as one, suppress(HostError, OSError):
            wait_until(lambda: len(begun) == 2)
            assert got == {}
            authority.revoke("vmh1")
            assert one.reader.readline() == b""
        wait_until(lambda: "vmh1" in got)
        other.writer.write(b"still here\n")
    wait_until(lambda: "vmh2" in got)
    assert got == {"vmh1": b"", "vmh2": b"still here\n"}


def test_revoked_certificate_of_a_nas_ends_the_transfer_of_a_host(authority: Site) -> None:
    """A host sends nothing more to a NAS with a revoked certificate."""
    left = threading.Event()
    nas, host = authority.identity("nas-0-0"), authority.identity("vmh1")
    server = StreamServer(lambda: server_context(nas), "127.0.0.1", 0, lambda _: left.wait(600) and None, 1)
    revocations = RevocationWatch(host.authority, check_seconds=0.1)
    revocations.start()
    try:
        with connect(
            client_context(host), "127.0.0.1", server.port, "nas-0-0", b"a", revocations
        ) as connection:
            authority.revoke("nas-0-0")
            assert connection.reader.readline() == b""
    finally:
        left.set()
        revocations.close()
        server.close()


def test_errors_of_an_unreachable_nas_and_of_a_missing_certificate(authority: Site, tmp_path: Path) -> None:
    """The text states what to do, or which node to check."""
    identity = authority.identity("vmh1")
    with pytest.raises(HostError, match="no transfer with nas-0-0 at 127.0.0.1:9"):
        connected(identity, 9).__enter__()
    with pytest.raises(ToolError, match="rocks sync host certificate"):
        client_context(Identity(tmp_path / "none.crt", identity.key, identity.authority))
