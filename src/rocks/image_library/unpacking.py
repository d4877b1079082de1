"""Reads packed files piece by piece, so that a small file that unpacks to terabytes is noticed on the way."""

from __future__ import annotations

import contextlib
import gzip
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from rocks.errors import UserError
from rocks.process import start_with_pipes
from rocks.terminal import one_line

_PIECE_BYTES = 1024**2


def unpacked_gzip(descriptor: int) -> Iterator[bytes]:
    """The content of an open gzip file. UserError when it is damaged."""
    with os.fdopen(os.dup(descriptor), "rb") as file, gzip.GzipFile(fileobj=file) as packed:
        file.seek(0)
        while True:
            try:
                piece = packed.read(_PIECE_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise UserError(f"it is damaged, or not whole: {error}") from None
            if not piece:
                return
            yield piece


def unpacked_zstd(descriptor: int) -> Iterator[bytes]:
    """The content of an open zstd file, by the program zstd. UserError when it is damaged, ToolError without it."""
    process = start_with_pipes(["zstd", "-q", "-d", "-c"])
    assert process.stdin and process.stdout and process.stderr
    feeder = threading.Thread(target=_feed, args=(descriptor, process.stdin), daemon=True)
    feeder.start()
    try:
        while piece := process.stdout.read(_PIECE_BYTES):
            yield piece
        process.wait()
        if process.returncode != 0:
            reason = one_line(process.stderr.read().decode("utf-8", "replace").strip())
            raise UserError(
                f"it is damaged, or not whole: {reason or f'zstd ended with {process.returncode}'}"
            )
    finally:
        process.kill()
        process.wait()
        feeder.join()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


UNPACKERS: dict[str, Callable[[int], Iterator[bytes]]] = {"gzip": unpacked_gzip, "zstd": unpacked_zstd}
"""Kind of a packed file → its content."""


def _feed(descriptor: int, pipe: IO[bytes]) -> None:
    """Write the whole file into the pipe; a reader that has ended stops it."""
    offset = 0
    with contextlib.suppress(OSError):
        while piece := os.pread(descriptor, _PIECE_BYTES, offset):
            pipe.write(piece)
            offset += len(piece)
    with contextlib.suppress(OSError):
        pipe.close()
