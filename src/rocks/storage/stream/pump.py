"""Moves a stream between a program's pipe and the frames of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import RocksError
from rocks.storage.stream.frames import FRAME_BYTES, FrameWriter, read_frames
from rocks.storage.stream.pace import Bucket
from rocks.storage.zfs.tool import Transfer

Count = Callable[[int], None]
"""Called with the bytes of each part; may raise to end the transfer, which is resumable."""

_FINISH_SECONDS = 300.0
_PRESERVE_SECONDS = 30.0


def send_program(program: Transfer, writer: BinaryIO, bucket: Bucket, count: Count) -> None:
    """Send the program's output, and the end only when the program has succeeded.

    A failure of the program is sent to the far end, and raised here.
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


def receive_program(reader: BinaryIO, program: Transfer, count: Count) -> None:
    """Write the received stream into the program, which has succeeded then.

    After any failure the program's input ends early, and it preserves the received part for a later attempt.
    """
    try:
        for payload in read_frames(reader):
            # before the write: the last part completes the stream, and `count` may still reject it
            count(len(payload))
            program.stream.write(payload)
        program.stream.close()
        program.finish(Deadline(_FINISH_SECONDS))
    except BrokenPipeError:
        program.finish(Deadline(_FINISH_SECONDS))  # raises with the program's own message
        raise
    except BaseException:
        _preserve_part(program)
        raise
    finally:
        program.kill()


def _preserve_part(program: Transfer) -> None:
    """End the input: `zfs receive -s` then preserves the received part."""
    try:
        program.stream.close()
        program.finish(Deadline(_PRESERVE_SECONDS))
    except (OSError, RocksError):
        pass  # it reports the incomplete stream, as expected
