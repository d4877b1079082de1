"""The protocols of moves: lines of a disk's receiver, and frames of a live migration. Pure."""

from __future__ import annotations

import struct
from typing import Iterator, NamedTuple, Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError
from rocks.fleet.wire.requests import StartDomain

HAVE, DIFFERS, CHECKED, STORED = "have", "differs", "checked", "stored"
"""How the receiver's lines begin: bytes that it has, from where on they differ, bytes read back, the digest."""


def moving_path(path: str) -> str:
    """The file of a disk that is not complete yet; it is no disk of a machine."""
    return f"{path}.moving"


# What both ends of a live migration, and the frontend between them, know: frames, and the request of each end.
#
# The agents of both hosts exchange frames on their standard streams; the frontend passes them on. Those of memory
# and disks go directly from host to host, where the old one reaches the new one. A frame is a header, and so many
# bytes. A connection has a number, which the old host chooses; its bytes are those of a socket.


HEADER = struct.Struct(">BIQ")
"""Kind, number of the connection, number of bytes."""

OPEN, DATA, END = 1, 2, 3
"""A new connection (its bytes name the socket), bytes of it, and the end of its bytes."""

DOCUMENT, READY = 4, 5
"""The machine on the old host, and what it gets on the new one: JSON of `Departure` and of `Arrival`."""

PROGRESS, RESULT = 6, 7
"""For the frontend: JSON of `Progress` and of `Result`."""

TICK = 8
"""The other end, and the frontend, are still there."""

LIBVIRT, MEMORY, DISKS = "libvirt", "memory", "disks"
"""The sockets: libvirt's own on the new host, and two of its QEMU there."""

SOCKETS = "rocks-live-"
"""How the folder with these sockets begins, on both hosts."""

REFUSED_STATUS = 4
"""Exit status of an end at which this machine cannot move as it is: nothing was copied."""

MAX_BYTES = 4 * 1024**2

DIRECT_PORTS = range(49152, 49216)
"""Ports of the new host: those that libvirt uses for migrations that others start."""


class Frame(NamedTuple):
    """A frame; `channel` is the number of the connection, 0 for frames of none."""

    kind: int
    channel: int
    data: bytes


def frame(kind: int, channel: int = 0, data: bytes = b"") -> bytes:
    """The frame as bytes."""
    return HEADER.pack(kind, channel, len(data)) + data


class Frames:
    """Bytes in pieces of any size → frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def put(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. IncoherentError for one that is too long."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            kind, channel, length = HEADER.unpack_from(self._buffer)
            if length > MAX_BYTES:
                raise IncoherentError("what was sent is no frame of a live migration")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield Frame(kind, channel, content)


@dataclass(frozen=True)
class DirectWay:
    """How memory and disks reach the new host, past the frontend: its name and address, and what proves both ends.

    `identity` is a certificate with its key, for both ends; `authority` is the certificate of what signed it, and signs
    nothing else.
    """

    host: str
    address: str
    identity: str
    authority: str


@dataclass(frozen=True)
class Leave:
    """The old host is to send the machine, under its new lease. `move` names the sockets of this migration.

    `paths` are the disks that are copied, `images` the devices of images on a NAS, which follow when the machine has
    arrived, paused until then. It has no others but such as are only read.
    """

    name: str
    token: int
    move: str
    paths: Tuple[str, ...]
    images: Tuple[str, ...] = ()
    direct: Optional[DirectWay] = None


@dataclass(frozen=True)
class Arrive:
    """The new host is to receive it: as `start`, which is not started; its XML has the interfaces of this host."""

    start: StartDomain
    uuid: str
    move: str
    direct: Optional[DirectWay] = None


@dataclass(frozen=True)
class DiskSize:
    """A disk: its target (`vda`), path and size."""

    target: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Departure:
    """The machine as it runs: its XML, its disks to be copied, and the CPU of its host as libvirt describes it.

    `images` are its images on a NAS.
    """

    xml: str
    disks: Tuple[DiskSize, ...]
    host_cpu: str
    images: Tuple[DiskSize, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """Its XML on the new host, and the port of the direct way, or why there is none."""

    xml: str
    port: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Progress:
    """Bytes of memory and disks that were sent, and those that remain; what the guest changes is sent again.

    `detour` is why they go through the frontend; empty when they do not.
    """

    sent_bytes: int
    remaining_bytes: int
    detour: str = ""


@dataclass(frozen=True)
class Result:
    """How it ended: without `error` the machine runs on the new host, and is gone from the old one."""

    error: Optional[str] = None
