"""An SSH server on a machine of the lab, on a loopback address: the way to it as to a remote host."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import NamedTuple

from lab.namespace import Machine, last_line
from rocks.core.errors import ToolError
from rocks.core.process import run_checked

_NAME = "sshd"
_START_DEADLINE_SECONDS = 60.0
_STOP_GRACE_SECONDS = 5.0

_CONFIGURATION = """\
ListenAddress {address}:{port}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
MaxStartups 200
MaxSessions 200
Subsystem sftp internal-sftp
SetEnv SHLVL=1
"""
# SHLVL: bash reads no ~/.bashrc for a command then. The one here is that of the developer's machine, not of a host.


class SshServer(NamedTuple):
    """Where the server answers, and its host key as a line `ssh-ed25519 …`."""

    address: str
    port: int
    host_key: str


def start(machine: Machine, authorized_keys: str, address: str = "127.0.0.1", port: int = 0) -> SshServer:
    """Start the server on a running machine; `port` 0 takes a free one. root comes in with one of the keys.

    A session is inside the machine. Nothing is started when it runs already. ToolError when it does
    not answer in time, or the port is in use.
    """
    folder = machine.folder / "sshd"
    if machine.daemon(_NAME) is None:
        folder.mkdir(mode=0o700, exist_ok=True)
        _ensure_key(folder / "host_key")
        (folder / "authorized_keys").write_text(authorized_keys, encoding="utf-8")
        chosen = port or machine.in_network(lambda: _free_port(address))
        (folder / "port").write_text(f"{address} {chosen}\n", encoding="ascii")
        text = _CONFIGURATION.format(address=_bracketed(address), port=chosen, folder=folder)
        (folder / "config").write_text(text, encoding="utf-8")
        machine.start_daemon(_NAME, ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")])
    address, number = (folder / "port").read_text(encoding="ascii").split()
    machine.in_network(lambda: _wait_until_it_answers(machine, address, int(number)))
    key = " ".join((folder / "host_key.pub").read_text(encoding="ascii").split()[:2])
    return SshServer(address, int(number), key)


def is_running(machine: Machine) -> bool:
    """Whether the server runs."""
    return machine.daemon(_NAME) is not None


def stop(machine: Machine) -> list[str]:
    """End the server; connections that are open go on until the machine stops. Returns a line for each thing done."""
    return [f"ended {_NAME}"] if machine.stop_daemon(_NAME, _STOP_GRACE_SECONDS) else []


def _ensure_key(key: Path) -> None:
    if not key.exists():
        run_checked(
            ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)],
            deadline_seconds=_START_DEADLINE_SECONDS,
        )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(machine: Machine, address: str, port: int) -> None:
    end_at = time.monotonic() + _START_DEADLINE_SECONDS
    while time.monotonic() < end_at:
        if machine.daemon(_NAME) is None:
            raise ToolError(f"sshd ended at once: {last_line(machine.log_folder / f'{_NAME}.log')}")
        try:
            with socket.create_connection((address, port), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass  # not yet
        time.sleep(0.02)
    raise ToolError(f"sshd does not answer at {address} port {port} after {_START_DEADLINE_SECONDS:g} s")
