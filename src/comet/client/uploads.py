"""Images on their way to the server: sent in parts, from the part on that the server has, and hashed meanwhile."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import IO, Any, Callable, Optional

from comet.client.connection import Answer, Connection, decoded
from comet.client.errors import (
    CometError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
    is_of_published_nucleus,
)
from comet.client.records import bad_answer

PART = 8 * 1024 * 1024
"""Bytes of a part: a broken connection costs one of them."""

_DESCRIPTOR, _ISO_MARK = 0x8000, b"CD001"
_TRIES = 5
_BUSY = ("state-conflict", "request-in-progress")
_PASSING = (None, 408, 429, 502, 503, 504)
"""Statuses of a slow network, or of a server that is busy or starts anew, also behind a proxy; None: no answer."""


def upload(
    connection: Connection,
    path: Path,
    name: str,
    project: Optional[str],
    progress: Callable[[int, int], None],
) -> Answer:
    """Send a file under a name; the answer to the last part, whose operation puts the image into the site's library.

    RefusedError if the name exists. A broken connection is taken up again, five times without a byte in between.
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
            body = {"name": name, "size": size, **({"project": project} if project else {})}
            place = _begin(connection, body)
            try:
                return _send_parts(connection, file, place, size, progress)
            except UnreachableError as error:  # nor could it be given up
                if error.http_status in _PASSING:
                    error.args = (f"{error}. Repeat the same command after a minute",)
                raise
            except BaseException:
                _abandon(connection, place)
                raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _abandon(connection: Connection, place: str) -> None:
    """Free the name and the bytes, as well as that goes: nobody knows the upload any more."""
    connection.close()  # a request of it may have no answer yet
    with contextlib.suppress(CometError):
        connection.request("DELETE", place, repeat=False)


def _begin(connection: Connection, body: dict[str, Any]) -> str:
    """The path of a new upload."""
    headers = {"Idempotency-Key": os.urandom(16).hex()}
    try:
        found = decoded(connection.request("POST", connection.path("image", "upload"), body, headers).body)
    except CometError as error:
        # the published Nucleus takes this for an image without its MD5, and answers 400
        if not is_of_published_nucleus(error) and (error.slug or error.http_status != 400):
            raise
        raise RefusedError(
            f"{connection.endpoint.url} is the published Nucleus, which takes no image in parts: "
            "use the published client"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise bad_answer("it has no upload's id")
    return connection.path("image", "upload", found["id"])


def _send_parts(
    connection: Connection, file: IO[bytes], place: str, size: int, progress: Callable[[int, int], None]
) -> Answer:
    offset, failures, is_known = 0, 0, True
    digest, hashed = hashlib.sha256(), 0
    while True:
        try:
            if not is_known:
                found = _offset(connection, place, hashed)
                failures = 0 if found > offset else failures
                offset, is_known = found, True
            file.seek(offset)
            part = file.read(PART)
            if not part and offset < size:
                raise UsageError("the file became shorter while it was sent: upload it again")
            headers = {
                "Content-Type": "application/octet-stream",
                "Upload-Offset": str(offset),
                "Prefer": "respond-async",
            }
            if offset + len(part) > hashed:  # what is sent again was hashed before
                digest.update(part[hashed - offset :])
                hashed = offset + len(part)
            if offset + len(part) == size:
                headers["Upload-Digest"] = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            answer = connection.request("PATCH", place, part, headers, repeat=False)
        except (UnreachableError, RefusedError) as error:
            failures += 1
            again = error.http_status in _PASSING or error.slug in _BUSY
            if failures > _TRIES or not again:
                raise
            time.sleep(0.2 * 3**failures)
            is_known = False
            continue
        offset, failures = offset + len(part), 0
        progress(offset, size)
        if offset >= size:
            return answer


def _offset(connection: Connection, place: str, sent: int) -> int:
    """Where the server goes on: at most behind what was sent."""
    try:
        found = decoded(connection.request("GET", place).body)
    except NotFoundError as error:
        message = "the upload is over, but its answer is lost. See: comet iso list"
        raise UnreachableError(message, http_status=error.http_status) from error
    offset = found.get("offset") if isinstance(found, dict) else None
    if not isinstance(offset, int) or not 0 <= offset <= sent:
        raise bad_answer("it has no upload's offset")
    return offset
