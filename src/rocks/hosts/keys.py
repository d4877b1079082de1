"""The keys between this machine and its hosts: ours installed there, theirs recorded here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rocks.errors import HostError
from rocks.hosts.known_hosts import HostKey, read_known_hosts, record_host_keys
from rocks.hosts.openssh import ssh_arguments_of_operator
from rocks.hosts.settings import FleetSettings, HostAddress
from rocks.hosts.ssh import (
    LoginRefusedError,
    SshConnection,
    load_private_key,
    shown_host_key,
    start_transport,
)
from rocks.process import run_interactively

__all__ = [
    "HostKey",
    "accepts_our_key",
    "ensure_own_key",
    "fetch_host_key",
    "install_own_key",
    "known_host_keys",
    "record_host_keys",
]

_ED25519_FIRST = (HostKey("ssh-ed25519", ""),)

# Read by the host's sh, whatever the login shell is; the key comes on standard input.
_INSTALL_SCRIPT = (
    "umask 077 && mkdir -p .ssh && read -r key && file=.ssh/authorized_keys && touch $file && "
    '{ grep -qxF -- "$key" $file || { [ -z "$(tail -c 1 $file)" ] || echo >> $file; '
    'printf "%s\\n" "$key" >> $file; }; }'
)


def ensure_own_key(settings: FleetSettings) -> tuple[str, bool]:
    """Our public key as a line for `authorized_keys`, and whether it had to be made.

    An Ed25519 key in OpenSSH's format, the private half 0600; an existing one is never replaced.
    """
    path = Path(settings.key_file)
    made = not path.exists() and _make_key(path)
    key = load_private_key(settings.key_file)
    line = f"{key.get_name()} {key.get_base64()} rocks@{os.uname().nodename}"
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        public.write_text(line + "\n", "ascii")
    return line, made


def fetch_host_key(host: HostAddress, settings: FleetSettings) -> HostKey:
    """The public key that the host shows now, Ed25519 if it has one; proves nothing by itself.

    DownError when nothing at the address speaks SSH.
    """
    transport = start_transport(host, settings, _ED25519_FIRST)
    try:
        return shown_host_key(transport)
    finally:
        transport.close()


def known_host_keys(host: HostAddress, settings: FleetSettings) -> tuple[HostKey, ...]:
    """The keys recorded for the host, none when it is not known."""
    return read_known_hosts(settings.known_hosts_file).get(host.name, ())


def accepts_our_key(host: HostAddress, settings: FleetSettings) -> bool:
    """Whether we are let in. DownError when nothing answers, HostError for an unknown key of the host."""
    connection = SshConnection(
        host, settings, load_private_key(settings.key_file), known_host_keys(host, settings)
    )
    with contextlib.closing(connection):
        try:
            return connection.run("true", settings.login_deadline_seconds).exit_status == 0
        except LoginRefusedError:
            return False


def install_own_key(host: HostAddress, settings: FleetSettings) -> None:
    """Have the host accept our key, let in by whatever the operator has: a password, an agent, another key.

    The host's key must have been recorded before. HostError when OpenSSH's client does not get in.
    """
    line, _ = ensure_own_key(settings)
    arguments = [*ssh_arguments_of_operator(host, settings), f"exec sh -c '{_INSTALL_SCRIPT}'"]
    exit_status = run_interactively(arguments, standard_input=line.encode("ascii") + b"\n")
    if exit_status != 0:
        raise HostError(
            f"our key could not be installed on host {host.name}: ssh ended with exit status {exit_status}; "
            f"or append {settings.key_file}.pub to ~{settings.user}/.ssh/authorized_keys there by hand"
        )


def _make_key(path: Path) -> bool:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
