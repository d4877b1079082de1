"""A receive that gets a stream only after the stream's first record was checked."""

from __future__ import annotations

import io
from typing import IO, Any, Callable, Optional, cast

from rocks.core.clock import Deadline
from rocks.core.errors import RocksError
from rocks.storage.zfs.begin_record import BEGIN_BYTES
from rocks.storage.zfs.commands import Transfer


class CheckedReceive:
    """A `Transfer` before another one. After a rejected record the other one has got nothing, and creates nothing."""

    def __init__(self, receive: Transfer, check: Callable[[bytes], None]) -> None:
        """`check` gets the first BEGIN_BYTES; its error is raised by the write that completes them, and by `finish`."""
        self._receive = receive
        self._input = _CheckedInput(receive.stream, check)
        self.stream = cast("IO[bytes]", self._input)

    def finish(self, deadline: Deadline) -> None:
        if self._input.error is not None:
            self._receive.kill()
            raise self._input.error
        self._receive.finish(deadline)

    def kill(self) -> None:
        self._receive.kill()
        self.stream.close()


class _CheckedInput(io.RawIOBase):
    def __init__(self, target: IO[bytes], check: Callable[[bytes], None]) -> None:
        super().__init__()
        self._target = target
        self._check = check
        self._begin: Optional[bytes] = b""
        self.error: Optional[RocksError] = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.error is not None:
            raise BrokenPipeError("the stream was rejected")
        if self._begin is None:
            return self._target.write(data)
        self._begin += bytes(data)
        if len(self._begin) >= BEGIN_BYTES:
            try:
                self._check(self._begin[:BEGIN_BYTES])
            except RocksError as error:
                self.error = error
                raise
            self._target.write(self._begin)
            self._begin = None
        return len(data)

    def close(self) -> None:
        super().close()
        self._target.close()
