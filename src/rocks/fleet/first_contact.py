"""SSH keys between this machine and its hosts: the key of this machine installed there, host keys recorded here."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rocks.core import dry_run
from rocks.core.errors import HostError
from rocks.core.files import PUBLIC, draft, write_file
from rocks.core.process import run_interactively
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.known_hosts import HostKey, read_known_hosts
from rocks.fleet.openssh import ssh_arguments_of_operator
from rocks.fleet.paramiko_connection import (
    LoginRefusedError,
    SshConnection,
    load_private_key,
    start_transport,
)

# the host's sh runs this, whatever the login shell is; the key is on standard input
_INSTALL_SCRIPT = (
    "umask 077 && mkdir -p .ssh && read -r key && file=.ssh/authorized_keys && touch $file && "
    '{ grep -qxF -- "$key" $file || { [ -z "$(tail -c 1 $file)" ] || echo >> $file; '
    'printf "%s\\n" "$key" >> $file; }; }'
)


def ensure_own_key(settings: FleetSettings) -> tuple[str, bool]:
    """The public key of this machine as a line for `authorized_keys`, and whether it is new.

    An Ed25519 key in OpenSSH's format, the private key with mode 0600; an existing key is never replaced.
    """
    path = Path(settings.key_file)
    made = not path.exists() and _create_key(path)
    key = load_private_key(settings.key_file)
    line = f"{key.get_name()} {key.get_base64()} rocks@{os.uname().nodename}"
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        write_file(public, line + "\n", mode=PUBLIC)
    return line, made


def fetch_host_key(host: HostAddress, settings: FleetSettings) -> HostKey:
    """The public key that the host presents now, Ed25519 if it has one; not verified.

    DownError when no SSH server answers at the address.
    """
    transport = start_transport(host, settings, ("ssh-ed25519",))
    try:
        return transport.get_remote_server_key()
    finally:
        transport.close()


def known_host_keys(host: HostAddress, settings: FleetSettings) -> tuple[HostKey, ...]:
    """The keys recorded for the host; none for an unknown host."""
    return read_known_hosts(settings.known_hosts_file).get(host.name, ())


def accepts_own_key(host: HostAddress, settings: FleetSettings) -> bool:
    """Whether the host accepts the key of this machine. DownError without an answer, HostError for an unknown host."""
    connection = SshConnection(
        host, settings, load_private_key(settings.key_file, host.name), known_host_keys(host, settings)
    )
    with contextlib.closing(connection):
        try:
            return connection.run("true", settings.login_deadline_seconds).exit_status == 0
        except LoginRefusedError:
            return False


def install_own_key(host: HostAddress, settings: FleetSettings) -> None:
    """Install the key of this machine on the host, with the operator's login: a password, an SSH agent, another key.

    The host's key must have been recorded before. HostError when OpenSSH's client cannot log in.
    """
    if dry_run.would(host.name, f"append {settings.key_file}.pub to ~{settings.user}/.ssh/authorized_keys"):
        return
    line, _ = ensure_own_key(settings)
    arguments = [*ssh_arguments_of_operator(host, settings), f"exec sh -c {shlex.quote(_INSTALL_SCRIPT)}"]
    exit_status = run_interactively(arguments, standard_input=line.encode("ascii") + b"\n")
    if exit_status != 0:
        raise HostError(
            f"the key of this machine could not be installed on host {host.name}: ssh ended with exit status "
            f"{exit_status}. To install it by hand, append {settings.key_file}.pub to "
            f"~{settings.user}/.ssh/authorized_keys there"
        )


def _create_key(path: Path) -> bool:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    try:
        with draft(path, replace=False) as key:
            key.write(text)
    except FileExistsError:
        return False
    return True
