"""Streams between pools: checks before a send or receive starts; the beginning of a received stream is checked, too."""

from __future__ import annotations

import io
from typing import IO, Any, Callable, Optional, cast

from rocks.core.clock import Deadline
from rocks.core.errors import RocksError
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.storage.zfs.begin_record import BEGIN_BYTES, check_begin
from rocks.storage.zfs.commands import Transfer
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec, TokenFact
from rocks.storage.zfs.names import check_part, check_token, check_volume
from rocks.storage.zfs.reading import PoolReading
from rocks.storage.zfs.rules import check_receive, check_resumed_send, check_send
from rocks.storage.zfs.volumes import settle


class StreamOperations(PoolReading):
    """The methods of `PoolDriver` on streams, by `ZfsCommands`."""

    def decode_token(self, token: str) -> TokenFact:
        """The contents of a resume token. StateError when it is invalid."""
        check_token(token)
        return self._commands.decode_token(token)

    def estimate_send(self, spec: SendSpec) -> int:
        """Estimated size of the stream in bytes."""
        self._check_send(spec)
        return self._commands.estimate(spec)

    def start_send(self, spec: SendSpec) -> Transfer:
        """Start a send. StateError when its source or incremental source is missing.

        A resumed send looks for its source by guid, first below the volume and then beside it. There OpenZFS 2.1 may
        find a snapshot of another volume with the same guid, and `finish` fails with "Invalid cross-device link": then
        discard the partial receive and send again.
        """
        self._check_send(spec)
        return self._commands.send(spec)

    def start_receive(self, spec: ReceiveSpec) -> Transfer:
        """Start a receive. IncoherentError when the newest snapshot of the volume is not the incremental source.

        StateError when the volume exists and must not, is missing, or has a partial receive. A receive never rolls the
        volume back. The write that completes the stream's first record (312 bytes) raises IncoherentError unless the
        stream is of one snapshot of a volume and has the specified source; nothing is received then.
        """
        check_volume(spec.volume)
        self._commands.flush(spec.volume)
        fact = self._commands.read_volume(spec.volume)
        history = self._commands.read_history(spec.volume)
        check_receive(spec, fact and self._exactly_written(fact, history), history)
        return CheckedReceive(self._commands.receive(spec), lambda begin: check_begin(begin, spec))

    def ensure_partial_gone(self, volume: str) -> Change:
        """Discard a partial receive; a volume without a complete stream is destroyed."""
        check_volume(volume)

        def is_so() -> bool:
            fact = self._commands.read_volume(volume)
            return fact is None or fact.resume_token is None

        return UNCHANGED if is_so() else settle(lambda: self._commands.abort_receive(volume), is_so)

    def _check_send(self, spec: SendSpec) -> None:
        check_volume(spec.volume)
        check_part(spec.to_name)
        history = self._commands.read_history(spec.volume)
        if spec.resume_token is None:
            check_send(spec, history)
        else:
            check_resumed_send(spec, self.decode_token(spec.resume_token), history)


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
