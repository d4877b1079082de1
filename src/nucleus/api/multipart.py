"""The part `file` of a multipart form, as it comes: nothing is kept in memory or in a file of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from nucleus.api.problems import Problem, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MOST_FIELD_BYTES = 4096
_MOST_PARTS = 16
_SILENCE_SECONDS = 60.0


class FileForm:
    """A form with one file. `fields` has the other parts that came before it."""

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
        self._header = self._value = self._field = b""
        self._name, self._is_file, self._has_ended = "", False, False
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": lambda *data: self._extend("_header", *data),
                "on_header_value": lambda *data: self._extend("_value", *data),
                "on_header_end": self._header_end,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": lambda: setattr(self, "_has_ended", True),
            },
        )

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise invalid("the form has too many parts; send only the part file")
        self._name, self._is_file = "", False
        self._header = self._value = self._field = b""

    def _extend(self, what: str, data: bytes, start: int, end: int) -> None:
        value = getattr(self, what) + data[start:end]
        if len(value) > _MOST_FIELD_BYTES:
            raise Problem("too-large", f"a field of the form is longer than {_MOST_FIELD_BYTES} bytes")
        setattr(self, what, value)

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            if self._name == "file" and not self.filename:
                self._is_file = True
                self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
        else:
            self._extend("_field", data, start, end)

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    async def begin(self) -> None:
        """Read as far as the file's name. Problem when there is no file."""
        while not self._is_file:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    is_more = await self._feed()
            except TimeoutError:
                raise Problem("timeout", "nothing came for a minute; send the form again") from None
            if not is_more:
                raise invalid("the form has no part `file` with the image")

    async def content(self) -> AsyncIterator[bytes]:
        """The file's bytes. Problem when the form ends too early."""
        while True:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if not await self._feed():
                break
        for piece in self._pieces:
            yield piece
        if not self._has_ended:
            raise invalid("the form is not whole: the connection ended before it")

    async def _feed(self) -> bool:
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            return False
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise invalid("the form is no multipart/form-data") from None
        return True
