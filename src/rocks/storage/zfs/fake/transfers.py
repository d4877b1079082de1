"""Sender and receiver of a stream between pools in memory."""

from __future__ import annotations

import io
from typing import IO, Any, Callable, Optional

from rocks.core.clock import Deadline
from rocks.core.errors import PoolFullError, RocksError, ToolError
from rocks.storage.zfs.facts import ReceiveSpec
from rocks.storage.zfs.fake.contents import Block, Partial, Pool, Snapshot, Volume, new_guid
from rocks.storage.zfs.fake.streams import Decoder, Header


class FakeSend:
    """A `Transfer` that sends; its stream is read, and ends early when its sender is killed after those bytes."""

    def __init__(self, name: str, data: bytes, cut_after_bytes: Optional[int]) -> None:
        self._name = name
        self._length = len(data)
        self._stream = io.BytesIO(data[:cut_after_bytes])
        self._was_killed = False

    @property
    def stream(self) -> IO[bytes]:
        return self._stream

    def finish(self, deadline: Deadline) -> None:
        was_read = not self._stream.closed and self._stream.tell() == self._length
        self._stream.close()
        if self._was_killed or not was_read:
            raise ToolError(f"zfs send of {self._name} was ended by signal {9 if self._was_killed else 13}")

    def kill(self) -> None:
        self._was_killed = self._was_killed or not self._stream.closed
        self._stream.close()


class FakeReceive:
    """A `Transfer` that receives. As with ZFS, the snapshot exists once the end of the stream was read."""

    def __init__(self, pool: Pool, spec: ReceiveSpec, now: Callable[[], int]) -> None:
        self._pool = pool
        self._spec = spec
        self._now = now
        self._decoder = Decoder()
        self._error: Optional[RocksError] = None
        self._was_killed = False
        self._is_over = False
        self.stream: IO[bytes] = _Sink(self)  # type: ignore[assignment] # a raw stream is all that is wanted

    def take(self, data: bytes) -> None:
        """Receive bytes of the stream."""
        if self._error is not None or self._is_over:
            raise BrokenPipeError("the receiver has ended")
        try:
            for number, block in self._decoder.feed(data):
                self._begin(self._header())
                self._store(number, block)
            if self._decoder.header is not None:
                self._begin(self._decoder.header)
            if self._decoder.is_complete:
                self._commit(self._header())
        except ValueError as error:
            self._fail(ToolError(f"zfs receive into {self._spec.volume} failed: cannot receive: {error}"))
        except RocksError as error:
            self._fail(error)

    def finish(self, deadline: Deadline) -> None:
        self.stream.close()
        if self._error is None and not self._is_over:
            why = "was killed" if self._was_killed else "failed: checksum mismatch or incomplete stream."
            self._fail(ToolError(f"zfs receive into {self._spec.volume} {why}"))
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        self._was_killed = not self._is_over and self._error is None
        self.stream.close()
        if self._was_killed:
            self._fail(ToolError(f"zfs receive into {self._spec.volume} was killed"))

    def _header(self) -> Header:
        assert self._decoder.header is not None
        return self._decoder.header

    def _begin(self, header: Header) -> None:
        """Check the header, create the volume or its partial receive."""
        volume = self._pool.volumes.get(self._spec.volume)
        if volume is not None and volume.is_receiving:
            return
        if volume is None:
            if header.first_record or header.from_guid is not None:
                raise ToolError(f"zfs receive into {self._spec.volume} failed: cannot find its source")
            volume = Volume(self._spec.volume, new_guid(), 0, 8192)
            self._pool.volumes[volume.name] = volume
        partial = volume.partial or Partial(header.to_guid, header.from_guid, header.to_name)
        if partial.to_guid != header.to_guid or partial.records_done != header.first_record:
            raise ToolError(
                f"zfs receive into {volume.name} failed: the stream does not continue the partial receive"
            )
        if volume.size_bytes and (not volume.snapshots or volume.snapshots[-1].guid != header.from_guid):
            raise ToolError(
                f"zfs receive into {volume.name} failed: its newest snapshot is not the source of the stream"
            )
        volume.partial, volume.is_receiving = partial, True

    def _store(self, number: int, block: Optional[bytes]) -> None:
        partial = self._partial()
        if len(block or b"") > self._pool.free_bytes():
            raise PoolFullError(
                f"zfs receive into {self._spec.volume} failed: out of space; the pool is full"
            )
        partial.blocks[number] = block
        partial.records_done += 1
        partial.bytes_done += len(block or b"")

    def _partial(self) -> Partial:
        partial = self._pool.volumes[self._spec.volume].partial
        assert partial is not None
        return partial

    def _commit(self, header: Header) -> None:
        volume, partial = self._pool.volumes[self._spec.volume], self._partial()
        volume.size_bytes, volume.block_bytes = header.size_bytes, header.block_bytes
        txg = self._pool.next_txg()
        volume.blocks.update({number: Block(txg, block) for number, block in partial.blocks.items()})
        name = header.to_name.partition("@")[2]
        volume.snapshots.append(
            Snapshot(name, header.to_guid, txg, self._now(), dict(volume.blocks), volume.size_bytes)
        )
        volume.partial, volume.is_receiving = None, False
        volume.log_bytes = 0
        self._is_over = True

    def _fail(self, error: RocksError) -> None:
        self._error = error
        volume = self._pool.volumes.get(self._spec.volume)
        if volume is not None:
            volume.is_receiving = False


class _Sink(io.RawIOBase):
    """The stream of a receiver."""

    def __init__(self, receive: FakeReceive) -> None:
        self._receive = receive

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._receive.take(bytes(data))
        return len(data)
