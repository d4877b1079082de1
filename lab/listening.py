"""The sockets that listen on a machine of the lab, with their owners, from the kernel's own tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lab.namespace import Machine

_TCP_LISTENS = "0A"
_UDP_UNCONNECTED = "07"
_UNIX_ACCEPTS = 0x10000
_INODE = re.compile(r"socket:\[(\d+)\]")


class Listening(NamedTuple):
    """A socket that accepts connections or datagrams: kind (tcp, udp, unix), place, program and its user's number."""

    kind: str
    place: str
    program: str
    user: int


def listening_sockets(machine: Machine) -> set[Listening]:
    """Those of all processes inside; machines that share a network have each its own."""
    found: set[Listening] = set()
    for process in machine.members():
        folder = Path("/proc") / str(process.process_id)
        try:
            inodes = set(_inodes(folder))
            places = [(kind, place) for inode, kind, place in _table(folder) if inode in inodes]
            program, user = (folder / "comm").read_text().strip(), folder.stat().st_uid
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        found.update(Listening(kind, place, program, user) for kind, place in places)
    return found


def _inodes(process: Path) -> Iterator[str]:
    for handle in (process / "fd").iterdir():
        try:
            match = _INODE.fullmatch(str(handle.readlink()))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if match:
            yield match.group(1)


def _table(process: Path) -> Iterator[tuple[str, str, str]]:
    """(inode, kind, place) of what listens in the process's network."""
    for name, state in (
        ("tcp", _TCP_LISTENS),
        ("tcp6", _TCP_LISTENS),
        ("udp", _UDP_UNCONNECTED),
        ("udp6", _UDP_UNCONNECTED),
    ):
        for line in (process / "net" / name).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == state:
                yield cells[9], name[:3], _address(cells[1])
    for line in (process / "net" / "unix").read_text().splitlines()[1:]:
        cells = line.split()
        if int(cells[3], 16) & _UNIX_ACCEPTS:
            yield cells[6], "unix", cells[7] if len(cells) > 7 else ""


def _address(text: str) -> str:
    """`0200007F:1F90` as `127.0.0.2:8080`; an address of IPv6 stays as the kernel writes it."""
    address, port = text.split(":")
    if len(address) == 8:
        address = ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
    return f"{address}:{int(port, 16)}"
