"""Moves a stream between a program's pipe and the frames of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, BinaryIO, Protocol

from rocks.clock import Deadline, monotonic_seconds
from rocks.errors import RocksError
from rocks.imgstorage.stream.frames import FRAME_BYTES, FrameWriter, read_frames
from rocks.imgstorage.stream.pace import Bucket

Count = Callable[[int], None]
"""Is told of each part's bytes, as they go; may raise to end the transfer, which is resumable."""


class Program(Protocol):
    """A running `zfs send` or `zfs receive`; `rocks.devices.zfs.driver.Transfer` is one."""

    @property
    def stream(self) -> IO[bytes]:
        """What it prints, or what it is fed by."""

    def finish(self, deadline: Deadline) -> None:
        """Wait for it; ToolError with its words unless it ended well."""

    def kill(self) -> None:
        """End it; twice is harmless."""


_FINISH_SECONDS = 300.0
_KEEP_SECONDS = 30.0


def send_program(program: Program, writer: BinaryIO, bucket: Bucket, count: Count) -> int:
    """Send what the program prints, and the end only when it has ended well; returns the bytes of its stream.

    The far end is told of the program's failure, which is then raised here too.
    """
    frames = FrameWriter(writer)
    try:
        while True:
            payload = program.stream.read(FRAME_BYTES)
            if not payload:
                break
            bucket.pause(bucket.take(len(payload), monotonic_seconds()))
            frames.data(payload)
            count(len(payload))
        program.finish(Deadline(_FINISH_SECONDS))
        frames.end()
    except RocksError as error:
        frames.error(error)
        raise
    finally:
        program.kill()
    return frames.bytes_done


def receive_program(reader: BinaryIO, program: Program, count: Count) -> int:
    """Feed the program with what arrives; returns the bytes of the stream. It has then ended well.

    Whatever goes wrong, the program sees its input end early, and keeps what it has for a later attempt.
    """
    done = 0
    try:
        for payload in read_frames(reader):
            # first: the last part completes the stream, and whoever counts may yet refuse it
            count(len(payload))
            program.stream.write(payload)
            done += len(payload)
        program.stream.close()
        program.finish(Deadline(_FINISH_SECONDS))
    except BrokenPipeError:
        program.finish(Deadline(_FINISH_SECONDS))  # raises with the program's own words
        raise
    except BaseException:
        _let_it_keep(program)
        raise
    finally:
        program.kill()
    return done


def _let_it_keep(program: Program) -> None:
    """Its input ends here: `zfs receive -s` then puts away what it has."""
    try:
        program.stream.close()
        program.finish(Deadline(_KEEP_SECONDS))
    except (OSError, RocksError):
        pass  # it complains of the short stream, as it must
