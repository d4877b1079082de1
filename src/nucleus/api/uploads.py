"""The bytes of an image on their way to the disk: taken out of a form, counted, hashed, and checked before any use."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from nucleus.api.problems import Problem, invalid, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

_BLOCK_BYTES = 1 << 20
_SILENCE_SECONDS = 60.0
_RESERVE_BYTES = 1 << 30
"""What an upload leaves free of the file system."""

_MAX_FIELD_BYTES = 4096
_MAX_PARTS = 16
_ISO_OFFSET, _ISO_MARK = 0x8001, b"CD001"


async def stream_of(request: Request, remedy: str) -> AsyncIterator[bytes]:
    """The bytes of a request, as far as they come. Problem, with the remedy, when nothing comes for a minute."""
    stream = request.stream()
    with suppress(ClientDisconnect, StopAsyncIteration):  # the caller sees that it is not whole
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    chunk = await anext(stream)
            except TimeoutError:
                raise Problem("timeout", f"nothing came for a minute; {remedy}") from None
            yield chunk


class FileForm:
    """The part `file` of a multipart form, as it comes: nothing is kept in memory or in a file of its own.

    `fields` has the other parts that came before it.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary or len(boundary) > 256:
            raise Problem(
                "wrong-media-type", "send the image as the part `file` of a form (multipart/form-data)"
            )
        self.filename = ""
        self.fields: dict[str, str] = {}
        self._body = body
        self._parts = 0
        self._name, self._is_file, self._has_ended = "", False, False
        self._pieces: list[bytes] = []
        handlers = {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda *data: self._extend("header", *data),
            "on_header_value": lambda *data: self._extend("value", *data),
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": lambda: setattr(self, "_has_ended", True),
        }
        self._parser = MultipartParser(boundary, handlers)  # type: ignore[arg-type]

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise invalid("the form has too many parts; send only the part file")
        self._name, self._is_file = "", False
        self._texts = dict.fromkeys(("header", "value", "field"), b"")

    def _extend(self, what: str, data: bytes, start: int, end: int) -> None:
        self._texts[what] += data[start:end]
        if len(self._texts[what]) > _MAX_FIELD_BYTES:
            raise Problem("too-large", f"a field of the form is longer than {_MAX_FIELD_BYTES} bytes")

    def _header_end(self) -> None:
        header, value = self._texts["header"], self._texts["value"]
        self._texts |= {"header": b"", "value": b""}
        if header.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            if self._name == "file" and not self.filename:
                self._is_file = True
                self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
        else:
            self._extend("field", data, start, end)

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._texts["field"].decode("utf-8", "replace")

    async def begin(self) -> None:
        """Read as far as the file's name. Problem when there is no file."""
        while not self._is_file:
            if not await self._feed():
                raise invalid("the form has no part `file` with the image")

    async def content(self) -> AsyncIterator[bytes]:
        """The file's bytes. Problem when the form ends too early."""
        is_more = True
        while is_more:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            is_more = await self._feed()
        if not self._has_ended:
            raise invalid("the form is not whole: the connection ended before it")

    async def _feed(self) -> bool:
        """Have the parser read the next bytes; whether there were any."""
        try:
            async for chunk in self._body:
                self._parser.write(chunk)
                return True
            return False
        except MultipartParseError:
            raise invalid("the form is no multipart/form-data") from None


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
    """Appends a stream to a file that only one request at a time may have open."""

    def __init__(self, path: Path, offset: int, reserved_bytes: int) -> None:
        self.path = path
        self.offset = offset
        self._reserved_bytes = reserved_bytes
        self._is_from_start = offset == 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._descriptor = -1

    def open(self) -> None:
        """Open and lock the file. Problem when another request has it, or the disk is full."""
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._descriptor).st_size < self.offset:
                raise Problem("unknown-upload", "what came of this upload is not there any more; begin again")
            os.ftruncate(self._descriptor, self.offset)  # what came later was not recorded
        except BlockingIOError:
            raise Problem(
                "request-in-progress", "another request sends this upload; end that first"
            ) from None
        except OSError as error:
            raise _disk_problem(error) from None

    def close(self) -> None:
        """Put what came on the disk, and free the file."""
        if self._descriptor >= 0:
            try:
                os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    async def take(
        self, chunks: AsyncIterator[bytes], note: Callable[[int], None], reserve: Callable[[int], int]
    ) -> None:
        """Write everything that comes; `note` gets the offset now and then, when it is on the disk.

        `reserve` gets the bytes that are needed, when they are more than are reserved, and returns how many are then.
        Its Problem, or one when the disk is full.
        """
        waiting = bytearray()
        noted = self.offset
        try:
            async for chunk in chunks:
                waiting += chunk
                if self.offset + len(waiting) > self._reserved_bytes:
                    needed = self.offset + len(waiting)
                    self._reserved_bytes = await run_in_threadpool(reserve, needed)
                if len(waiting) >= _BLOCK_BYTES:
                    await run_in_threadpool(self._write, bytes(waiting))
                    waiting.clear()
                    if self.offset - noted >= 64 * _BLOCK_BYTES:
                        await run_in_threadpool(self.sync, note)
                        noted = self.offset
        finally:
            if waiting and self.offset + len(waiting) <= self._reserved_bytes:
                self._write(bytes(waiting))

    def sync(self, note: Callable[[int], None]) -> None:
        """Put what came on the disk, then note how much it is."""
        os.fdatasync(self._descriptor)
        note(self.offset)

    def _write(self, block: bytes) -> None:
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

    def digests(self) -> tuple[str, str]:
        """(SHA-256, MD5) of the whole file; read again only when an earlier request has sent a part."""
        if not self._is_from_start:
            self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            place = 0
            while block := os.pread(self._descriptor, _BLOCK_BYTES, place):
                self._sha256.update(block)
                self._md5.update(block)
                place += len(block)
        return self._sha256.hexdigest(), self._md5.hexdigest()

    def demand_iso(self) -> None:
        """Problem unless the file has the mark of ISO 9660."""
        if os.pread(self._descriptor, len(_ISO_MARK), _ISO_OFFSET) != _ISO_MARK:
            raise invalid("the file is no ISO image: it has no mark of ISO 9660; it was not stored")

    def give_name(self, target: Path) -> None:
        """Give the file its last name, too, on the disk; another file that has it stays, and is an error."""
        try:
            os.fsync(self._descriptor)
            with suppress(FileExistsError):
                os.link(self.path, target)
            if not target.samefile(self.path):
                raise Problem("name-conflict", "this image is there already")
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _disk_problem(error) from None


def _disk_problem(error: OSError) -> Problem:
    return unavailable(f"the site cannot store images now: {error.strerror}; report it to its operators")
