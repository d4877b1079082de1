"""The file of hosts' public keys, in OpenSSH's format: `name,[address]:port type base64`, one key a line.

paramiko parses the keys. Its `HostKeys` would lose comments, marked lines and the second key of a type when it saves,
so this module retains the lines of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rocks.core.errors import UserError
from rocks.core.files import PUBLIC, ensure_folders, write_file
from rocks.fleet.connection import HostAddress
from rocks.fleet.paramiko_library import HostKeyEntry, InvalidHostKey, paramiko

HostKey = paramiko.PKey
"""A public key; `get_name()` is its type, `fingerprint` as `ssh-keygen -l` prints it."""

_UNSUPPORTED = ("#", "@", "|")
"""First characters of comments, of marked lines and of lines with hashed names."""


def read_known_hosts(path: str) -> dict[str, tuple[HostKey, ...]]:
    """Name or `[address]:port` → keys. Marked, hashed and invalid lines are ignored; a missing file is empty."""
    known: dict[str, tuple[HostKey, ...]] = {}
    for line in _read(Path(path)).splitlines():
        entry = _parse(line)
        if entry is not None:
            for name in entry.hostnames:
                known[name] = (*known.get(name, ()), entry.key)
    return known


def parse_host_key(text: str) -> HostKey:
    """The key in `type base64 [comment]`, the content of a `.pub` file. UserError for other text."""
    entry = _parse(f"host {text}")
    if entry is None:
        raise UserError(f"{text[:60]!r} is not a public key in OpenSSH's format: type and base64 text")
    return entry.key


def record_host_keys(path: str, host: HostAddress, keys: tuple[HostKey, ...]) -> bool:
    """Make these the known keys of the host, under its name and address; returns whether the file changed.

    Other lines lose this name and address, so that no line identifies two hosts. The file is replaced atomically.
    """
    names = (host.name, host.address if host.port == 22 else f"[{host.address}]:{host.port}")
    added = [f"{','.join(names)} {key.get_name()} {key.get_base64()}" for key in keys]
    return rename_hosts(path, dict.fromkeys(names, ""), added)


def rename_hosts(path: str, new_names: Mapping[str, str], added: Sequence[str] = ()) -> bool:
    """Have the keys under new names, '' for none, and lines at the end; returns whether the file changed."""
    old = _read(Path(path))
    lines = [line for line in (_renamed(line, new_names) for line in old.splitlines()) if line is not None]
    new = "".join(line + "\n" for line in (*lines, *added))
    if new == old:
        return False
    ensure_folders(Path(path).parent, 0o755)
    write_file(Path(path), new, mode=PUBLIC)
    return True


def _parse(line: str) -> HostKeyEntry | None:
    fields = line.split()
    if len(fields) < 3 or line.startswith(_UNSUPPORTED):
        return None
    try:
        return HostKeyEntry.from_line(" ".join(fields[:3]))
    except (InvalidHostKey, paramiko.SSHException, ValueError):
        return None


def _renamed(line: str, new_names: Mapping[str, str]) -> str | None:
    """The line with the new names; None when none is left. The key need not be valid."""
    fields = line.split(maxsplit=1)
    if len(fields) < 2 or line.startswith(_UNSUPPORTED):
        return line
    names = fields[0].split(",")
    renamed = [new for name in names if (new := new_names.get(name, name))]
    if renamed == names:
        return line
    return f"{','.join(renamed)} {fields[1]}" if renamed else None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
