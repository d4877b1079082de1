"""Faulty hosts: real SSH servers on loopback ports with misbehaving agents."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.processes import end, identify
from lab.sshd import SshServer
from rocks.core.clock import Deadline
from rocks.core.process import run_checked, start_in_background
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from tests.patience import patience
from tests.servers import free_port

_CONFIGURATION = """\
{more}
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
"""


@contextmanager
def ssh_server(folder: Path, authorized_key: str, more: str = "") -> Iterator[tuple[SshServer, int]]:
    """A server of the test with additional lines of configuration; yields it and its process id."""
    folder.mkdir()
    port = free_port()
    key = folder / "host_key"
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=patience(10)
    )
    (folder / "authorized_keys").write_text(authorized_key + "\n")
    (folder / "config").write_text(_CONFIGURATION.format(port=port, folder=folder, more=more))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process_id = start_in_background(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], folder / "log"
    )
    process = identify(process_id)
    assert process is not None, (folder / "log").read_text()
    try:
        wait_for_greeting(port)
        text = " ".join((folder / "host_key.pub").read_text().split()[:2])
        yield SshServer("127.0.0.1", port, text), process_id
    finally:
        end([process], 0)


def known_host(server: SshServer, settings: FleetSettings, name: str = "compute-0-0") -> HostAddress:
    """The server as a host whose key is known."""
    host = HostAddress(name, server.address, server.port)
    record_host_keys(settings.known_hosts_file, host, (parse_host_key(server.host_key),))
    return host


def wait_for_greeting(port: int) -> None:
    """Until an SSH server answers, 10 s at most on a quiet machine."""
    deadline = Deadline(patience(10))
    while not deadline.passed():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"no SSH server at port {port}")
