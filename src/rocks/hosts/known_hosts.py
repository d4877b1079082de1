"""The file of hosts' public keys, in OpenSSH's format: `name,[address]:port type base64`, one key a line."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from rocks.errors import UserError
from rocks.hosts.settings import HostAddress


class HostKey(NamedTuple):
    """A host's public key: its type (`ssh-ed25519`, ...) and its base64 text as OpenSSH writes it."""

    key_type: str
    base64_text: str

    @property
    def fingerprint(self) -> str:
        """SHA256 fingerprint in OpenSSH's form, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.base64_text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def read_known_hosts(path: str) -> dict[str, tuple[HostKey, ...]]:
    """Name or `[address]:port` → keys; marked, hashed, broken lines left out. No file: nobody is known."""
    try:
        lines = Path(path).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    known: dict[str, tuple[HostKey, ...]] = {}
    for line in lines:
        names, key = _parse_line(line)
        for name in names if key is not None else ():
            known[name] = (*known.get(name, ()), *((key,) if key is not None else ()))
    return known


def parse_host_key(text: str) -> HostKey:
    """The key in `type base64 [comment]`, as an `.pub` file has it. UserError for anything else."""
    words = text.split()
    if len(words) < 2 or not _is_base64(words[1]):
        raise UserError(f"{text[:60]!r} is no public key in OpenSSH's format: type and base64 text")
    return HostKey(words[0], words[1])


def record_host_keys(path: str, host: HostAddress, keys: tuple[HostKey, ...]) -> bool:
    """Make these the known keys of the host, under its name and address; returns whether the file changed.

    Other lines lose this name and address, so that one of them never vouches for two hosts. The file is
    replaced in one step.
    """
    names = {host.name, place_name(host)}
    try:
        old = Path(path).read_text("utf-8", "replace")
    except FileNotFoundError:
        old = ""
    kept = [line for line in (_without(line, names) for line in old.splitlines()) if line is not None]
    added = [f"{host.name},{place_name(host)} {key.key_type} {key.base64_text}" for key in keys]
    new = "".join(line + "\n" for line in (*kept, *added))
    if new == old:
        return False
    _replace(Path(path), new)
    return True


def place_name(host: HostAddress) -> str:
    """How OpenSSH names the place of a host in this file."""
    return host.address if host.port == 22 else f"[{host.address}]:{host.port}"


def _parse_line(line: str) -> tuple[tuple[str, ...], HostKey | None]:
    words = line.split()
    if len(words) < 3 or words[0][0] in "#@|":
        return (), None
    return tuple(words[0].split(",")), HostKey(words[1], words[2]) if _is_base64(words[2]) else None


def _without(line: str, names: set[str]) -> str | None:
    line_names = _parse_line(line)[0]
    if not names & set(line_names):
        return line
    left = [name for name in line_names if name not in names]
    return ",".join(left) + line[len(",".join(line_names)) :] if left else None


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
