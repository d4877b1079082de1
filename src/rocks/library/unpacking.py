"""Reads packed files piece by piece, so that a small file that unpacks to terabytes is noticed on the way."""

from __future__ import annotations

import contextlib
import gzip
import io
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from rocks.core.errors import RocksError, ToolError, UserError
from rocks.core.process import start_with_pipes
from rocks.core.terminal import one_line

_PIECE_BYTES = 1024**2


def unpacked_gzip(packed: io.RawIOBase) -> Iterator[bytes]:
    """The content of a gzip file, which is read to its end. UserError when it is damaged."""
    with gzip.GzipFile(fileobj=io.BufferedReader(packed, _PIECE_BYTES), mode="rb") as file:
        while True:
            try:
                piece = file.read(_PIECE_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise UserError(f"it is damaged, or not whole: {error}") from None
            if not piece:
                return
            yield piece


def unpacked_zstd(packed: io.RawIOBase) -> Iterator[bytes]:
    """The content of a zstd file, which is read to its end, by the program zstd.

    UserError when it is damaged, ToolError without the program, and the errors of reading.
    """
    for piece, failure in _through(["zstd", "-q", "-d", "-c"], packed):
        if failure is not None:
            raise UserError(f"it is damaged, or not whole: {failure}")
        yield piece


def packed_zstd(content: io.RawIOBase) -> Iterator[bytes]:
    """The content packed by the program zstd. ToolError without it, or when it fails, and the errors of reading."""
    for piece, failure in _through(["zstd", "-q", "-c"], content):
        if failure is not None:
            raise ToolError(f"zstd cannot pack it: {failure}")
        yield piece


def _through(arguments: Sequence[str], file: io.RawIOBase) -> Iterator[tuple[bytes, str | None]]:
    """What the program makes of the file, piece by piece; at last why it failed, unless it did not."""
    process = start_with_pipes(arguments)
    assert process.stdin and process.stdout and process.stderr
    failed: list[RocksError] = []
    feeder = threading.Thread(target=_feed, args=(file, process.stdin, failed), daemon=True)
    feeder.start()
    try:
        while piece := process.stdout.read(_PIECE_BYTES):
            yield piece, None
        process.wait()
        feeder.join()
        if failed:
            raise failed[0]
        if process.returncode != 0:
            reason = one_line(process.stderr.read().decode("utf-8", "replace").strip())
            yield b"", reason or f"{arguments[0]} ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()
        feeder.join()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


UNPACKERS: dict[str, Callable[[io.RawIOBase], Iterator[bytes]]] = {
    "gzip": unpacked_gzip,
    "zstd": unpacked_zstd,
}
"""Kind of a packed file → its content."""


def _feed(packed: io.RawIOBase, pipe: IO[bytes], failed: list[RocksError]) -> None:
    """Write the whole file into the pipe; a reader that has ended stops it."""
    try:
        with contextlib.suppress(OSError):
            while piece := packed.read(_PIECE_BYTES):
                pipe.write(piece)
    except RocksError as error:
        failed.append(error)
    with contextlib.suppress(OSError):
        pipe.close()
