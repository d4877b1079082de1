"""Files of a folder for the HTTPS server: nothing outside it, no links, no hidden names; whole files or one range."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from rocks.core.errors import HostError
from rocks.fleet.https.server import Answer, FilePart

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TYPE = "application/octet-stream"


def open_below(folder: Path, path: str) -> int | None:
    """A descriptor of the regular file at a URL's path below the folder; None when there is none.

    No part of the path may be a symbolic link, `..`, empty, or begin with a dot. HostError for an unreadable file.
    """
    parts = unquote(path, errors="surrogateescape").split("/")
    if not all(parts) or any(part.startswith(".") or "\0" in part for part in parts):
        return None
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            following = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = following
        # a FIFO must not hold the worker
        found = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except PermissionError as error:
        raise HostError(f"cannot read {folder / Path(*parts)}: {error.strerror}") from None
    except OSError:
        return None
    finally:
        os.close(place)
    if stat.S_ISREG(os.fstat(found).st_mode):
        return found
    os.close(found)
    return None


def file_answer(descriptor: int, headers: list[tuple[str, str]]) -> Answer:
    """The answer with the file, or with the range of it that the headers state: 200, 206 or 416."""
    size = os.fstat(descriptor).st_size
    stated = read_range(headers, size)
    if stated is None:
        return Answer(200, _TYPE, b"", {"Accept-Ranges": "bytes"}, FilePart(descriptor, 0, size))
    first, last = stated
    if first > last:
        os.close(descriptor)
        return Answer(416, "text/plain", b"no such range\n", {"Content-Range": f"bytes */{size}"})
    return Answer(
        206,
        _TYPE,
        b"",
        {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{size}"},
        FilePart(descriptor, first, last - first + 1),
    )


def read_range(headers: list[tuple[str, str]], size: int) -> tuple[int, int] | None:
    """First and last byte of the one range that is asked for; None for the whole file.

    The first is beyond the last when nothing of the file is in the range. Several ranges, another unit, and a range
    on a condition (If-Range) are the whole file, as RFC 9110 allows.
    """
    named = {name.lower(): value.strip() for name, value in headers}
    found = _RANGE.fullmatch(named.get("range", ""))
    if found is None or "if-range" in named or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1
