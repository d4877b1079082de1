"""What both ends of a move between NASes say: that they still read, and what they have read."""

from __future__ import annotations

from typing import IO

from rocks.core.clock import monotonic_seconds
from rocks.storage.nas.imports import put_on_disk, read_digest
from rocks.storage.stream.lines import receive_line, send_line
from rocks.storage.stream.transport import Connection

ALIVE_SECONDS = 20.0
"""How often an end that reads a volume says so; a connection ends after 120 s of silence."""


def check_content(connection: Connection, device: IO[bytes], size_bytes: int) -> bool:
    """Whether this device and that of the other end, which calls this too, have the same size and content.

    Both read all of it at the same time. HostError when the connection ends.
    """
    last = monotonic_seconds()

    def count(part_bytes: int) -> None:
        nonlocal last
        if monotonic_seconds() - last > ALIVE_SECONDS:
            last = monotonic_seconds()
            send_line(connection.writer, {"reading": part_bytes})

    put_on_disk(device)
    digest = read_digest(device, size_bytes, count)
    send_line(connection.writer, {"digest": digest, "size_bytes": size_bytes})
    while True:
        theirs = receive_line(connection.reader)
        if "digest" in theirs:
            return (theirs["digest"], theirs.get("size_bytes")) == (digest, size_bytes)
