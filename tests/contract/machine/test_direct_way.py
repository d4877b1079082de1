"""The direct way of a live migration, with both ends in this process: who gets through, and who holds it up."""

import contextlib
import queue
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.fleet.connection import HostAddress
from rocks.fleet.wire.live_moves import DIRECT_PORTS, Arrival, DirectWay
from rocks.machine.host import live_move as ends
from rocks.machine.live_move import direct_way
from tests.patience import patience

NEW = HostAddress("new", "127.0.0.1")


class Way:
    """What both ends have of their streams: all that came, and how to send."""

    def __init__(self) -> None:
        self.came: queue.Queue[bytes] = queue.Queue()
        self.send: Callable[[bytes], None] | None = None

    def receive(self, read: Callable[[int], bytes], ended: str) -> None:
        while data := read(1024):
            self.came.put(data)
        self.came.put(ended.encode())

    def go_directly(self, send: Callable[[bytes], None]) -> None:
        self.send = send


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def made(address: str = NEW.address) -> DirectWay:
    """A way as the frontend makes it."""
    way = direct_way(NEW._replace(address=address))
    assert way is not None
    return way


def listening(way: DirectWay, streams: Way, stack: contextlib.ExitStack) -> Arrival:
    """What the new host says."""
    port, problem = ends.listen(way, streams, stack)
    return Arrival("", port, problem)


def sends(way: DirectWay, there: Arrival, new: Way, stack: contextlib.ExitStack) -> None:
    """The old host reaches the new one, which answers."""
    old = Way()
    assert ends.connect_directly(way, there, old, stack) == ""
    assert old.send is not None
    old.send(b"memory")
    assert new.came.get(timeout=patience(10)) == b"memory"
    assert new.send is not None
    new.send(b"answer")
    assert old.came.get(timeout=patience(10)) == b"answer"


def test_what_the_old_host_sends_arrives_until_it_is_lost(stack: contextlib.ExitStack) -> None:
    """The end of the connection is seen: the agent's process ends with it. Nothing listens after the move."""
    way, new, old = made(), Way(), contextlib.ExitStack()
    with contextlib.ExitStack() as listens:
        there = listening(way, new, listens)
        assert there.port in DIRECT_PORTS
        with old:
            sends(way, there, new, old)
    assert b"not reach this one" in new.came.get(timeout=patience(10))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((NEW.address, there.port))


def test_only_the_move_s_own_certificate_counts(stack: contextlib.ExitStack) -> None:
    """Without one, and with that of another move, at either end; the old host is served afterwards."""
    way, new = made(), Way()
    there = listening(way, new, stack)
    no_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    no_certificate.load_verify_locations(cadata=way.authority)
    with (
        socket.create_connection((NEW.address, there.port), timeout=10) as plain,
        no_certificate.wrap_socket(plain, server_hostname="new") as stranger,
        pytest.raises(OSError),  # noqa: PT011 - its alert, or the end of the connection
    ):
        stranger.sendall(b"\nmemory")
        if not stranger.recv(1):
            raise ConnectionError
    other = made()
    assert "its certificate is not its own" in ends.connect_directly(other, there, Way(), stack)
    by_another = replace(other, authority=way.authority)  # it takes the listener for the new host
    assert ends.connect_directly(by_another, there, Way(), stack)
    assert new.came.empty()
    sends(way, there, new, stack)


def test_who_connects_and_is_silent_holds_nothing_up(stack: contextlib.ExitStack) -> None:
    """Far more connections than are waited for, and one that sends what is no TLS."""
    way, new = made(), Way()
    there = listening(way, new, stack)
    for _ in range(100):
        stack.enter_context(socket.create_connection((NEW.address, there.port)))
    stack.enter_context(socket.create_connection((NEW.address, there.port))).sendall(
        b"GET / HTTP/1.0\r\n\r\n"
    )
    sends(way, there, new, stack)


def test_a_port_in_use_is_passed_over(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt uses the same ports; without a free one, the new host says so."""
    first = listening(made(), Way(), stack)
    second = listening(made(), Way(), stack)
    assert first.port < second.port
    monkeypatch.setattr(ends, "DIRECT_PORTS", (first.port, second.port))
    assert listening(made(), Way(), stack).port == 0
    assert "Address already in use" in listening(made(), Way(), stack).problem


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_new_host_that_is_not_reached_is_named(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, is_silent: bool
) -> None:
    """At once, or at the deadline: what holds the port does not answer. The old host sends nothing then."""
    monkeypatch.setattr(ends, "LIVE_DIRECT_SECONDS", 0.5)
    held = stack.enter_context(socket.create_server((NEW.address, 0)))
    port = held.getsockname()[1]
    if not is_silent:
        held.close()
    monkeypatch.setattr(ends, "DIRECT_PORTS", (port,))
    old = Way()
    reason = ends.connect_directly(made(), Arrival("", port), old, stack)
    assert ("timed out" if is_silent else "Connection refused") in reason
    assert old.send is None
    elsewhere = listening(made("192.0.2.1"), Way(), stack)
    assert elsewhere.port == 0 and "192.0.2.1" in elsewhere.problem
    assert ends.connect_directly(made("192.0.2.1"), elsewhere, Way(), stack) == elsewhere.problem


def test_no_key_is_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """ssl reads it from memory, which is closed afterwards."""
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def load_chain(context: ssl.SSLContext, path: str) -> None:
        opened.append(str(Path(path).readlink()))
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_chain)
    before = sorted(Path("/proc/self/fd").iterdir())
    ends._context(made(), ssl.PROTOCOL_TLS_CLIENT)
    assert opened == ["/memfd:identity (deleted)"]
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_host_without_a_recorded_address_has_no_direct_way() -> None:
    assert direct_way(HostAddress("new", "new")) is None
