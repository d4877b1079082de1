"""SSH keys of a lab: the operator's, with which he comes to every machine, and each machine's own, known in advance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from lab.machines.login import KEY_FILE, KNOWN_HOSTS_FILE
from rocks.core.process import run_checked

_DEADLINE_SECONDS = 30.0


def ensure_keys(folder: Path, names: Sequence[str]) -> None:
    """Make the missing keys in the folder, and write the list of known hosts for all keys."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in (folder / KEY_FILE, *(_host_key(folder, name) for name in names)):
        if not key.exists():
            program = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
            run_checked(program, deadline_seconds=_DEADLINE_SECONDS)
    public = sorted(folder.glob("host_*.pub"))
    lines = [f"{_name_in(path)} {path.read_text(encoding='ascii').strip()}\n" for path in public]
    (folder / KNOWN_HOSTS_FILE).write_text("".join(lines), encoding="ascii")


def secrets_of(folder: Path, name: str) -> dict[str, bytes]:
    """Files that only the machine's root may read: its own key, and its authorized keys."""
    key = _host_key(folder, name)
    return {
        "etc/ssh/ssh_host_ed25519_key": key.read_bytes(),
        "etc/ssh/ssh_host_ed25519_key.pub": key.with_name(key.name + ".pub").read_bytes(),
        "root/.ssh/authorized_keys": (folder / f"{KEY_FILE}.pub").read_bytes(),
    }


def fingerprint_of(folder: Path, name: str) -> str:
    """The fingerprint of the machine's own key, as `ssh-keygen -l` prints it."""
    public = _host_key(folder, name).with_name(f"host_{name}.pub").read_text(encoding="ascii")
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"


def _host_key(folder: Path, name: str) -> Path:
    return folder / f"host_{name}"


def _name_in(public: Path) -> str:
    return public.stem.removeprefix("host_")
