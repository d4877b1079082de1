"""The bytes of an image on their way to the disk: taken out of a form, counted, hashed, and checked before any use."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from nucleus.api.access.throttles import Latest
from nucleus.api.problems import Problem, invalid, unavailable
from rocks.core.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request

_BLOCK_BYTES = 1 << 20
_SILENCE_SECONDS = 60.0
_RESERVE_BYTES = 1 << 30
"""What an upload leaves free of the file system."""

_MAX_FIELD_BYTES = 4096
_MAX_FIELDS = 15
_DESCRIPTOR, _ISO_MARK = 0x8000, b"CD001"
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")

_DIGESTS = Latest[tuple[str, str]]()
"""Of files that were read again. They are whole, and nothing is added to them any more."""


async def stream_of(request: Request, remedy: str) -> AsyncGenerator[bytes]:
    """The bytes of a request, as far as they come. Problem, with the remedy, when nothing comes for a minute."""
    stream = request.stream()
    with suppress(ClientDisconnect, StopAsyncIteration):  # the caller sees that it is not whole
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    chunk = await anext(stream)
            except TimeoutError:
                raise Problem("request-timeout", f"nothing came for a minute; {remedy}") from None
            yield chunk


class ImageForm(MultiPartParser):
    """A form whose part `file` goes to `take` as it comes: nothing is kept in memory or in a file of its own.

    `fields` has the other parts that came before it.
    """

    def __init__(
        self,
        request: Request,
        body: AsyncGenerator[bytes],
        take: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise Problem(
                "wrong-media-type", "send the image as the part `file` of a form (multipart/form-data)"
            )
        super().__init__(
            request.headers, body, max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
        )
        self.filename = ""
        self._take = take
        self._has_ended = False

    @property
    def fields(self) -> dict[str, str]:
        """Name → text."""
        return {name: text for name, text in self.items if isinstance(text, str)}

    async def read(self) -> None:
        """Read to the end. Problem for a form that is none, or ends too early, and that of `take`."""
        try:
            await self.parse()
        except MultiPartException as error:
            raise invalid(f"the form is no multipart/form-data with an image: {error.message}") from None
        if not self._has_ended:
            raise invalid("the form is not whole: the connection ended before it")

    def on_headers_finished(self) -> None:
        """Have the image go to `take` instead of a temporary file."""
        super().on_headers_finished()
        part = self._current_part
        if self.filename and part.file is None and part.field_name == "project":
            raise invalid("the part `project` comes after the image: send it before the part `file`")
        if part.file is not None:
            if part.field_name != "file":
                raise MultiPartException(f"{part.field_name[:64]!r} is a file.")
            self.filename = part.file.filename or ""
            part.file.write = self._take  # type: ignore[assignment]

    def on_end(self) -> None:
        """It is whole."""
        self._has_ended = True


def digests_of(md5: str | None, content_digest: str | None) -> dict[str, str]:
    """Name of the digest that headers state → its value in hexadecimal. Problem without one."""
    expected = {}
    if md5 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{32}", md5.strip()):
            raise invalid("the header md5 must have 32 hexadecimal digits", [("#/header/md5", "no MD5")])
        expected["MD5"] = md5.strip().lower()
    if content_digest is not None:
        expected["SHA-256"] = sha256_of("Content-Digest", content_digest)
    if not expected:
        raise invalid(
            "the checksum is missing: send the header md5, or Content-Digest: sha-256=:BASE64:",
            [("#/header/md5", "it is missing")],
        )
    return expected


def sha256_of(header: str, value: str) -> str:
    """The digest that a header states, in hexadecimal. Problem for another one."""
    found = _DIGEST.search(value)
    if found is None:
        raise invalid(f"the header {header} must be sha-256=:BASE64:")
    return base64.b64decode(found[1]).hex()


def part_path(folder: Path, upload_id: str) -> Path:
    """The file of an upload; its name comes from this service, not from a client."""
    return folder / f"{upload_id}.part"


def whole_path(folder: Path, image_id: int) -> Path:
    """The file of an image that is whole and was checked, until the site's library has it."""
    return folder / f"{image_id}.iso"


def is_name_of_ours(name: str) -> bool:
    """Whether a file may be one of an upload or an image; others in the folder are left alone."""
    return re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}\.part|[0-9]{1,20}\.iso", name) is not None


class Receiver:
    """Appends what comes to a file of at most `max_bytes`, which only one request at a time may have open.

    `note` gets the offset now and then, when it is on the disk.
    """

    def __init__(self, path: Path, offset: int, max_bytes: int, note: Callable[[int], None]) -> None:
        self.path = path
        self.offset = self._noted = offset
        self._max_bytes = max_bytes
        self._note = note
        self._waiting = bytearray()
        self._is_from_start = offset == 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._descriptor = -1

    def open(self, check: Callable[[], object]) -> None:
        """Open and lock the file. Problem when another request has it, or the disk is full, and that of `check`.

        `check` looks, under the lock, whether the offset is still what was recorded: another request may have ended
        since it was read.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            check()
            if os.fstat(self._descriptor).st_size < self.offset:
                raise Problem(
                    "unknown-upload", "the first part of this upload is gone; upload the file again"
                )
            os.ftruncate(self._descriptor, self.offset)  # what came later was not recorded
        except BlockingIOError:
            raise Problem(
                "request-in-progress", "another request sends this upload; end that first"
            ) from None
        except OSError as error:
            raise _disk_problem(error) from None

    @staticmethod
    def has_open(path: Path) -> bool:
        """Whether a request has the file of an upload open."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Put what came on the disk, and free the file."""
        if self._descriptor >= 0:
            try:
                self.flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    async def write(self, chunk: bytes) -> None:
        """Take what comes next. Problem when it is too much, or the disk is full."""
        if self.offset + len(self._waiting) + len(chunk) > self._max_bytes:
            raise Problem(
                "too-large",
                f"more than the announced {self._max_bytes} bytes were sent; upload the file again",
            )
        self._waiting += chunk
        if len(self._waiting) >= _BLOCK_BYTES:
            await run_in_threadpool(self._write_waiting)
            if self.offset - self._noted >= 64 * _BLOCK_BYTES:
                await run_in_threadpool(self.flush)

    def flush(self) -> None:
        """Put what came on the disk, then note how much it is."""
        self._write_waiting()
        if self.offset != self._noted:
            os.fdatasync(self._descriptor)
            self._note(self.offset)
            self._noted = self.offset

    def _write_waiting(self) -> None:
        block, self._waiting = bytes(self._waiting), bytearray()
        try:
            if shutil.disk_usage(self.path.parent).free < _RESERVE_BYTES:
                raise unavailable("the site has no space for images now; report it to its operators")
            left = memoryview(block)
            while left:
                left = left[os.pwrite(self._descriptor, left, self.offset + len(block) - len(left)) :]
        except OSError as error:
            raise _disk_problem(error) from None
        self._sha256.update(block)
        self._md5.update(block)
        self.offset += len(block)

    async def digests(self, turn: AbstractAsyncContextManager[None]) -> tuple[str, str]:
        """(SHA-256, MD5) of the whole file. It is read again, once, when an earlier request has sent a part."""
        if self._is_from_start:
            return self._sha256.hexdigest(), self._md5.hexdigest()
        if (key := str(self.path)) not in _DIGESTS:
            async with turn:
                _DIGESTS.put(key, await run_in_threadpool(self._read_again))
        return _DIGESTS[key]

    def _read_again(self) -> tuple[str, str]:
        sha256, md5, place = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        while block := os.pread(self._descriptor, _BLOCK_BYTES, place):
            sha256.update(block)
            md5.update(block)
            place += len(block)
        return sha256.hexdigest(), md5.hexdigest()

    def demand_iso(self) -> None:
        """Problem unless the file has the mark of ISO 9660, and is as long as it states."""
        descriptor = os.pread(self._descriptor, 130, _DESCRIPTOR)
        if descriptor[1:6] != _ISO_MARK:
            raise invalid("the file was not stored: it is no ISO image (ISO 9660); upload another file")
        stated = int.from_bytes(descriptor[80:84], "little") * int.from_bytes(descriptor[128:130], "little")
        if self.offset < stated:
            raise invalid(
                f"the file was not stored: it is cut off: it states {stated} bytes and has {self.offset}; get it again,"
                " then upload it"
            )

    def give_name(self, target: Path) -> None:
        """Give the file its last name, too, on the disk; another file that has it stays, and is an error."""
        try:
            os.fsync(self._descriptor)
            with suppress(FileExistsError):
                os.link(self.path, target)
            if not target.samefile(self.path):
                raise Problem(
                    "name-conflict",
                    "the site has another file in the place of this image; report it to its operators",
                )
            sync_folder(target.parent)
        except OSError as error:
            raise _disk_problem(error) from None


def _disk_problem(error: OSError) -> Problem:
    return unavailable(f"the site cannot store images now: {error.strerror}; report it to its operators")
