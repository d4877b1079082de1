"""Images on their way to the server: sent as a whole, and hashed meanwhile."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from pathlib import Path
from typing import IO, Callable, Iterator, Mapping, Optional, Tuple

from comet.client.connection import Answer, Connection
from comet.client.errors import (
    CometError,
    RefusedError,
    UnreachableError,
    UsageError,
    is_of_published_nucleus,
)

_BLOCK = 1024 * 1024
_DESCRIPTOR, _ISO_MARK = 0x8000, b"CD001"
_TRIES = 5
_PASSING = (None, 408, 429, 502, 503, 504)
"""Statuses of a slow network, or of a server that is busy or starts anew, also behind a proxy; None: no answer."""

_STORED_BYTES_A_SECOND = 20 * 1024 * 1024
"""The lowest rate at which a server stores and checks an image before it answers."""


def upload(
    connection: Connection,
    path: Path,
    name: str,
    project: Optional[str],
    progress: Callable[[int, int], None],
) -> Answer:
    """Send a file under a name; the operation of the answer puts the image into the site's library.

    RefusedError if the name exists. An upload that breaks off begins again, five times.
    """
    try:
        with path.open("rb") as file:
            file.seek(_DESCRIPTOR)  # the server refuses others when all has come
            descriptor = file.read(130)
            if descriptor[1:6] != _ISO_MARK:
                raise UsageError(f"{path} is no ISO image (ISO 9660): nothing was sent; choose another file")
            stated = int.from_bytes(descriptor[80:84], "little") * int.from_bytes(
                descriptor[128:130], "little"
            )
            size = file.seek(0, os.SEEK_END)  # also of a drive
            if size < stated:
                raise UsageError(
                    f"{path} is cut off: it states {stated} bytes and has {size}; nothing was sent; get it again"
                )
            query = [("name", name), *([("project", project)] if project else [])]
            place = connection.path("image", query=query)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                "Idempotency-Key": os.urandom(16).hex(),
                "Prefer": "respond-async",
            }
            for attempt in range(1, _TRIES + 1):
                try:
                    answer, sent = _send(connection, place, headers, file, size, progress)
                    break
                except (UnreachableError, RefusedError) as error:
                    # the server may not know yet that the one before has broken off
                    is_passing = error.http_status in _PASSING or error.slug == "request-in-progress"
                    if not is_passing or attempt == _TRIES:
                        raise _explained(connection, error) from error.__cause__
                    time.sleep(3**attempt)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if answer.headers.get("Repr-Digest") != sent:
        raise RefusedError(
            "the server has stored other bytes than were sent: delete it (comet iso delete), then upload it again"
        )
    return answer


def _send(
    connection: Connection,
    place: str,
    headers: Mapping[str, str],
    file: IO[bytes],
    size: int,
    progress: Callable[[int, int], None],
) -> Tuple[Answer, str]:
    """The answer, and the digest of what was sent."""
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        for begin in range(0, size, _BLOCK):
            file.seek(begin)
            block = file.read(min(_BLOCK, size - begin))
            if len(block) < min(_BLOCK, size - begin):
                raise UsageError("the file became shorter while it was sent: upload it again")
            digest.update(block)
            yield block
            progress(begin + len(block), size)

    patience = size / _STORED_BYTES_A_SECOND
    content = blocks()
    answer = connection.request("POST", place, content, headers, patience, repeat=False)
    for _ in content:  # an answer that was stored before comes before the server has read all
        pass
    return answer, f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"


def _explained(connection: Connection, error: CometError) -> CometError:
    # the published Nucleus takes this for an image without its MD5, and answers 400
    if is_of_published_nucleus(error) or (not error.slug and error.http_status == 400):
        return RefusedError(
            f"{connection.endpoint.url} is the published Nucleus, which takes images in forms: "
            "use the published client"
        )
    if error.http_status in _PASSING:
        error.args = (f"{error}. Repeat the same command after a minute",)
    return error
