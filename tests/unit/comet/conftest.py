"""A server in memory, and `comet` with a home of its own."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from comet import Client
from comet.cli.main import run
from comet.client.configuration import Endpoint
from tests.nucleus_server import TOKEN, NucleusServer

ISO = bytes(0x8001) + b"CD001" + bytes(2048)
"""What an ISO image begins with; it states no size."""


class Result(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


class Terminal(io.StringIO):
    """Somebody who types this."""

    def isatty(self) -> bool:
        return True


class Comet:
    """Runs a command in this process, against `server`; what `patch` changes is as before when the test has ended."""

    def __init__(
        self, server: NucleusServer, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.server, self.patch, self._capsys = server, patch, capsys

    def __call__(self, *typed: str, stdin: str = "", terminal: str | None = None) -> Result:
        """With `stdin` as its input that is no terminal, or `terminal` as one that is."""
        self.patch.setattr(sys, "stdin", io.StringIO(stdin) if terminal is None else Terminal(terminal))
        self._capsys.readouterr()
        status = run(list(typed))
        printed = self._capsys.readouterr()
        return Result(status, printed.out, printed.err)


def sent(server: NucleusServer, method: str) -> list[tuple[str, object]]:
    """(path below the version, JSON body) of the requests of a method; the body of an image is none."""
    return [
        (path.partition("/v1/")[2], json.loads(body) if body[:1] == b"{" else None)
        for found, path, _, body in server.requests
        if found == method
    ]


@pytest.fixture
def server() -> Iterator[NucleusServer]:
    found = NucleusServer()
    yield found
    found.close()


@pytest.fixture
def client(server: NucleusServer) -> Iterator[Client]:
    with Client(Endpoint("dev", server.url, "ann", TOKEN), timeout=60) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ENDPOINT", "TOKEN", "PASSWORD", "CONFIG"):
        monkeypatch.delenv(f"COMET_{name}", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def configured(server: NucleusServer, folder: Path) -> Path:
    """A configuration file for the server."""
    path = folder / ".config" / "comet" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f'active = "dev"\n[endpoints.dev]\nurl = "{server.url}"\nusername = "ann"\ntoken = "{TOKEN}"\n',
        "utf-8",
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def comet(
    configured: Path,
    server: NucleusServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Comet:
    return Comet(server, capsys, monkeypatch)
