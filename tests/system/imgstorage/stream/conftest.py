"""A NAS that listens, its authority, and programs whose output or input is a stream."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from rocks.core.clock import Deadline
from rocks.core.errors import ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.stream.dialogue import receive_program, send_program
from rocks.storage.stream.pace import Bucket
from rocks.storage.stream.transport import (
    Connection,
    Identity,
    RevocationWatch,
    StreamServer,
    client_context,
    connect,
    server_context,
)
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec

SIZE_BYTES = 9_000_001


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
    path.write_bytes(os.urandom(SIZE_BYTES))
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
