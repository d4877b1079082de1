"""What both ends of a move between NASes say: that they still read, and what they have read."""

from __future__ import annotations

from typing import IO

from rocks.storage.nas.imports import put_on_disk, read_digest
from rocks.storage.stream.frames import alive_reporter, receive_line, send_line
from rocks.storage.stream.transport import Connection


def is_same_content(connection: Connection, device: IO[bytes], size_bytes: int) -> bool:
    """Whether this device and that of the other end, which calls this too, have the same size and content.

    Both read all of it at the same time. HostError when the connection ends.
    """
    put_on_disk(device)
    digest = read_digest(device, size_bytes, alive_reporter(connection.writer))
    send_line(connection.writer, {"digest": digest, "size_bytes": size_bytes})
    while True:
        theirs = receive_line(connection.reader)
        if "digest" in theirs:
            return (theirs["digest"], theirs.get("size_bytes")) == (digest, size_bytes)
