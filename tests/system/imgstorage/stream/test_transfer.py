"""Transfers over real TLS on loopback: a program's whole output arrives at another program, or an error."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rocks.core.errors import HostError, ToolError
from rocks.storage.stream.dialogue import receive_program, send_program
from rocks.storage.stream.pace import Bucket
from rocks.storage.stream.transport import (
    Connection,
)
from tests.system.imgstorage.stream.conftest import (
    SIZE_BYTES,
    Site,
    Start,
    connected,
    digest,
    fetch,
    ignore,
    printing,
    reading,
    send_file,
)


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
        receive_program(connection.reader, reading('cat >"$1"', str(down)), counted.append)
    assert sum(counted) == SIZE_BYTES
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
@pytest.mark.parametrize("place", [50_000, 4_000_000, SIZE_BYTES - 40_000])
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
    assert len(received) < SIZE_BYTES
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


def test_a_transfer_that_this_end_ends_was_cut_off_and_is_no_failure_of_the_program(
    authority: Site, start: Start, source: Path
) -> None:
    """Such as one whose far end is revoked: it can be resumed, whatever the program says of half a stream."""
    server = start(lambda connection: send_file(connection, source))
    with (
        pytest.raises(HostError, match="before its end|was cut off"),  # the far end's reset may come first
        connected(authority.identity("vmh1"), server.port) as connection,
    ):
        receive_program(
            connection.reader,
            reading("cat >/dev/null; echo half a stream >&2; exit 1"),
            lambda _: connection.end(),
        )
