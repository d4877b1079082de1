"""The way to a socket of a host, with a real sshd: it ends with its command."""

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import ProcessIdentity, end, identify
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.fleet import FleetSettings
from rocks.fleet.tunnel import Tunnel
from tests.contract.conftest import need
from tests.contract.ssh_hosts import known_host, ssh_server
from tests.patience import patience

pytestmark = pytest.mark.system


@pytest.fixture
def folder() -> Iterator[Path]:
    # a short path: the kernel takes 108 bytes for the name of a socket
    with tempfile.TemporaryDirectory(prefix="rocks-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def far_end(folder: Path) -> Iterator[str]:
    """A socket that greets."""
    path = str(folder / "far")
    with socket.create_server(path, family=socket.AF_UNIX) as server:

        def greet() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                with client:
                    client.sendall(b"RFB")

        threading.Thread(target=greet, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


def _greeting(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience(20))
        client.connect(path)
        return client.recv(3)


def _processes_of(folder: Path) -> list[ProcessIdentity]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_of_it = str(folder).encode() in (process / "cmdline").read_bytes()
        except OSError:
            continue
        if is_of_it and (identity := identify(int(process.name))) is not None:
            found.append(identity)
    return found


def test_it_does_not_outlive_its_command_where_the_operator_shares_connections(
    folder: Path, far_end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ControlMaster auto` in the operator's ~/.ssh/config."""
    need("sshd")
    shared = folder / "shared"
    (folder / "config").write_text(f"ControlMaster auto\nControlPersist 60\nControlPath {shared}\n")
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    (folder / "ssh").chmod(0o755)
    settings = FleetSettings(str(folder / "key"), str(folder / "known_hosts"), control_folder="")
    with ssh_server(tmp_path / "sshd", ensure_own_key(settings)[0]) as (server, _):
        host = known_host(server, settings)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        tunnel = Tunnel(host, far_end, str(folder / "near"), settings)
        try:
            tunnel.wait_until_open(patience(20))
            assert _greeting(tunnel.path) == b"RFB"
            tunnel.close()
            assert not shared.exists() and not _processes_of(folder)
            with pytest.raises(ConnectionRefusedError):
                _greeting(tunnel.path)
        finally:
            end(_processes_of(folder), 0)
