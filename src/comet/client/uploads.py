"""Images on their way to the server: hashed first, then sent as one multipart request (rows 33 and 34)."""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from pathlib import Path
from typing import IO, Callable, cast

from comet.client.connection import Connection, decoded
from comet.client.errors import RefusedError, UsageError

_PART = 1 << 20


def upload(connection: Connection, path: Path, name: str, progress: Callable[[int, int], None]) -> str:
    """Send a file under a name; its wire name. RefusedError if the server has that name."""
    try:
        with path.open("rb") as file:
            md5, sha256, size = _digests(file)
            if size == 0:
                raise UsageError(f"{path} is empty")
            listed = decoded(connection.request("GET", connection.path("image")).body)
            if isinstance(listed, list) and f"public/{name}" in listed:
                raise RefusedError(
                    f"image {name} exists; give this one another name: comet iso upload --isoname=NAME {path}"
                )
            file.seek(0)
            body = _Multipart(file, name, size, progress)
            headers = {
                "Content-Type": f"multipart/form-data; boundary={body.boundary}",
                "Content-Length": str(body.length),
                "md5": md5.hex(),
                "Content-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",
                "Idempotency-Key": uuid.uuid4().hex,
            }
            connection.request("POST", connection.path("image"), cast("IO[bytes]", body), headers)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return f"public/{name}"


def _digests(file: IO[bytes]) -> tuple[bytes, bytes, int]:
    md5, sha256, size = hashlib.md5(), hashlib.sha256(), 0
    while part := file.read(_PART):
        md5.update(part)
        sha256.update(part)
        size += len(part)
    return md5.digest(), sha256.digest(), size


class _Multipart:
    """A multipart body of one file, read in parts; it never is in memory as a whole."""

    def __init__(self, file: IO[bytes], name: str, size: int, progress: Callable[[int, int], None]) -> None:
        self.boundary = uuid.uuid4().hex
        head = (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._parts: list[IO[bytes]] = [
            io.BytesIO(head.encode()),
            file,
            io.BytesIO(f"\r\n--{self.boundary}--\r\n".encode()),
        ]
        self.length = len(head) + size + len(self.boundary) + 8
        self._sent, self._size, self._progress = 0, size, progress

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at least one MiB at a time if there are as many; b"" at the end."""
        while self._parts:
            found = self._parts[0].read(max(size, _PART))
            if found:
                self._sent += len(found)
                self._progress(min(self._sent, self._size), self._size)
                return found
            self._parts.pop(0)
        return b""
