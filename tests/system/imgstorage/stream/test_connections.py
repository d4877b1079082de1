"""Connections for transfers over real TLS: whose are taken, how many, how long, and when they end."""

import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rocks.core.errors import HostError, IncoherentError, ToolError
from rocks.storage.stream import transport
from rocks.storage.stream.transport import (
    MAX_OF_AN_ADDRESS,
    Connection,
    Identity,
    RevocationWatch,
    StreamServer,
    client_context,
    connect,
    server_context,
)
from tests.patience import patience
from tests.system.imgstorage.stream.conftest import Site, Start, connected, digest, fetch, send_file
from tests.waiting import wait_until


def test_certificate_of_another_authority_is_rejected_at_both_ends(
    authority: Site, start: Start, tmp_path: Path
) -> None:
    """Neither as a host nor as a NAS."""
    served: list[str] = []
    others = set(threading.enumerate())
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
    wait_until(lambda: not any(one.name == "transfer" for one in threading.enumerate() if one not in others))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_slow_first_line_ends_at_its_deadline(
    authority: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte at a time extends nothing, although its certificate is valid; it is never served."""
    monkeypatch.setattr(transport, "OPENING_SECONDS", patience(1.0))
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
