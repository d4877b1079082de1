"""The file of an upload: the image is taken out of its form, hashed, and checked before any use."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.multipart import parse_options_header

from nucleus.api.problems import Problem, invalid, unavailable
from rocks.core.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK_BYTES = 1 << 20
_FIELDS_BYTES = 64 << 10
"""Where the image of a form begins at the latest, and what may follow it."""

_DESCRIPTOR, _ISO_MARK = 0x8000, b"CD001"
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Form(NamedTuple):
    """What a form has, and the place of its image in bytes: from `begin` to before `end`."""

    filename: str
    project: str
    begin: int
    end: int


class Stored(NamedTuple):
    """Bytes of a stored image; SHA-256 and MD5 → in hexadecimal."""

    size: int
    digests: dict[str, str]


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether the image comes in a form."""
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def form_of(path: Path, content_type: str) -> Form:
    """The form in a file. Problem for one without an image at its end; OSError."""
    _, options = parse_options_header(content_type)
    if b"boundary" not in options:
        raise Problem("wrong-media-type", "send the image as the part `file` of a form with a boundary")
    mark = b"\r\n--" + options[b"boundary"]
    with path.open("rb") as file:
        head, fields, place = b"\r\n" + file.read(_FIELDS_BYTES), dict[str, str](), 0
        while head.startswith(mark + b"\r\n", place) and (end := head.find(b"\r\n\r\n", place)) > 0:
            stated = re.search(rb"(?i)\r\ncontent-disposition:([^\r\n]*)", head[place:end])
            _, options = parse_options_header(stated[1].strip() if stated else b"")
            name, filename = (
                options.get(key, b"").decode("utf-8", "replace") for key in (b"name", b"filename")
            )
            if name == "file":
                begin = end + 4 - 2  # of the file, which has no line's end before its first mark
                size = file.seek(0, os.SEEK_END)
                tail = max(begin, size - _FIELDS_BYTES)
                return Form(
                    filename,
                    fields.get("project", ""),
                    begin,
                    tail + _end(os.pread(file.fileno(), size, tail), mark),
                )
            place = head.find(mark, end)
            fields[name] = head[end + 4 : place].decode("utf-8", "replace")
    raise invalid("the form is no multipart/form-data with an image in its part `file`")


def _end(tail: bytes, mark: bytes) -> int:
    """Where the image ends in the last bytes of a form."""
    if mark + b"\r\n" in tail:
        raise invalid(
            "the image must be the last part of the form: send others, as `project`, before the part `file`"
        )
    end = tail.rfind(mark + b"--")
    if end < 0:
        raise invalid("the form is not whole: its last boundary is missing")
    return end


def expected_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """Name of the digest that headers state → its value in hexadecimal. Problem for a bad one; a form needs one."""
    md5, content_digest, expected = headers.get("md5"), headers.get("content-digest"), dict[str, str]()
    if md5 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{32}", md5.strip()):
            raise invalid("the header md5 must have 32 hexadecimal digits", [("#/header/md5", "no MD5")])
        expected["MD5"] = md5.strip().lower()
    if content_digest is not None:
        found = _DIGEST.search(content_digest)
        if found is None:
            raise invalid("the header Content-Digest must be sha-256=:BASE64:")
        expected["SHA-256"] = base64.b64decode(found[1]).hex()
    if is_form(headers) and not expected:
        raise invalid(
            "the checksum is missing: send the header md5, or Content-Digest: sha-256=:BASE64:",
            [("#/header/md5", "it is missing")],
        )
    return expected


def store(path: Path, begin: int = 0, end: int | None = None) -> Stored:
    """Cut the file to the image, which is from `begin` to before `end`, and sync it to the disk; size and digests.

    Problem where it is no ISO image, or is cut off; OSError.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, path.open("r+b") as shifted:
        size = (file.seek(0, os.SEEK_END) if end is None else end) - begin
        _demand_iso(os.pread(file.fileno(), 130, begin + _DESCRIPTOR), size)
        file.seek(begin)
        left = size
        while block := file.read(min(_BLOCK_BYTES, left)):
            sha256.update(block)
            md5.update(block)
            left -= len(block)
            if begin:
                shifted.write(block)
        shifted.truncate(size)
        os.fsync(shifted.fileno())
    return Stored(size, {"SHA-256": sha256.hexdigest(), "MD5": md5.hexdigest()})


def _demand_iso(descriptor: bytes, size: int) -> None:
    """Problem unless the descriptor has the mark of ISO 9660, and the image is as long as it states."""
    if descriptor[1:6] != _ISO_MARK:
        raise invalid("the file was not stored: it is no ISO image (ISO 9660); upload another file")
    stated = int.from_bytes(descriptor[80:84], "little") * int.from_bytes(descriptor[128:130], "little")
    if size < stated:
        raise invalid(
            f"the file was not stored: it is cut off: it states {stated} bytes and has {size}; get it again,"
            " then upload it"
        )


def give_name(path: Path, target: Path) -> None:
    """Give the file another name, too, on the disk; another file that has it stays, and is an error."""
    try:
        with suppress(FileExistsError):
            target.hardlink_to(path)
        if not target.samefile(path):
            raise Problem(
                "name-conflict",
                "the site has another file in the place of this image; report it to its operators",
            )
        sync_folder(target.parent)
    except FileNotFoundError:
        raise gone() from None
    except OSError as error:
        raise disk_problem(error) from None


def gone() -> Problem:
    """The refusal of an upload whose file nginx has removed."""
    return Problem("request-timeout", "the connection ended before the image was stored; upload it again")


def disk_problem(error: OSError) -> Problem:
    """The refusal where the disk cannot be used."""
    return unavailable(f"the site cannot store images now: {error.strerror}; report it to its operators")
