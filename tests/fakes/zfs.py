"""ZFS in memory: contents of pools, the commands of `zfs` on them, and streams between them.

The contract tests run on it and on real pools. Contents are blocks, each with the transaction group that wrote it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import (
    IO,
    Any,
    NamedTuple,
)

from rocks.core.clock import Deadline
from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, Code, HostError, PoolFullError, RocksError, StateError, ToolError
from rocks.core.values import BYTES_PER_GIB
from rocks.storage.zfs.facts import (
    AUTOMATIC,
    OUR_PREFIX,
    BookmarkFact,
    History,
    PoolFact,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
)
from rocks.storage.zfs.pool import BEGIN, BEGIN_BYTES, FIELDS, MAGIC, ONE_SNAPSHOT, VOLUME, PoolDriver
from rocks.storage.zfs.tool import Transfer

METADATA_BYTES = 57344
"""Metadata that ZFS writes with any change of a volume."""

LOG_HEADER_BYTES = 8192
"""Counts as written after a rollback."""

_numbers = itertools.count(1)


def new_guid() -> str:
    """A guid that is unique in this process; half of them exceed a signed number of 64 bits."""
    return str(int.from_bytes(hashlib.blake2b(b"%d" % next(_numbers), digest_size=8).digest(), "big"))


class Block(NamedTuple):
    """Data of a block (None: a hole) and the transaction group that wrote it."""

    birth: int
    data: bytes | None


Blocks = dict[int, Block]


@dataclass
class Snapshot:
    """A snapshot by the part after `@`."""

    name: str
    guid: str
    txg: int
    seconds: int
    blocks: Blocks
    size_bytes: int
    holds: set[str] = field(default_factory=set)
    properties: dict[str, str] = field(default_factory=dict)


class Bookmark(NamedTuple):
    """A bookmark by the part after `#`."""

    name: str
    guid: str
    txg: int


@dataclass
class Partial:
    """A partial receive."""

    to_guid: str
    from_guid: str | None
    to_name: str
    blocks: dict[int, bytes | None] = field(default_factory=dict)
    records_done: int = 0
    bytes_done: int = 0


@dataclass
class Volume:
    """A volume; without a size, only its interrupted first receive exists."""

    name: str
    guid: str
    size_bytes: int
    block_bytes: int
    reserved_bytes: int = 0
    origin: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    partial: Partial | None = None
    shaped_txg: int = 0
    created_txg: int = 0
    log_bytes: int = 0
    shows_snapshots: bool = False
    is_synchronous: bool = False
    is_read_only: bool = False
    is_open: bool = False
    is_receiving: bool = False

    def written_since(self, txg: int) -> int:
        """Bytes written after that transaction group: blocks and metadata."""
        later = [block for block in self.blocks.values() if block.birth > txg]
        data = sum(self.block_bytes for block in later if block.data is not None)
        return data + METADATA_BYTES if later or self.shaped_txg > txg else 0

    def referenced_bytes(self) -> int:
        """Bytes of the current blocks."""
        return METADATA_BYTES + self.block_bytes * sum(
            block.data is not None for block in self.blocks.values()
        )

    def used_bytes(self, not_own: Blocks) -> int:
        """Bytes of all blocks of the volume and its snapshots, without those of its origin."""
        histories = [self.blocks, *(snapshot.blocks for snapshot in self.snapshots)]
        own: set[tuple[int, int]] = {
            (number, block.birth)
            for blocks in histories
            for number, block in blocks.items()
            if block.data is not None and not_own.get(number) != block
        }
        partial = sum(map(len, filter(None, self.partial.blocks.values()))) if self.partial else 0
        return METADATA_BYTES + len(own) * self.block_bytes + partial


@dataclass
class Pool:
    """A pool and its datasets."""

    name: str
    size_bytes: int
    health: str = "ONLINE"
    is_imported: bool = True
    txg: int = 10
    volumes: dict[str, Volume] = field(default_factory=dict)
    file_systems: set[str] = field(default_factory=set)

    def next_txg(self) -> int:
        """A new transaction group."""
        self.txg += 1
        return self.txg

    def find_snapshot(self, name: str) -> Snapshot | None:
        """A snapshot by its full name."""
        volume, _, part = name.partition("@")
        snapshots = self.volumes[volume].snapshots if volume in self.volumes else []
        return next((snapshot for snapshot in snapshots if snapshot.name == part), None)

    def clones_of(self, snapshot: str) -> tuple[str, ...]:
        """The clones of a snapshot (full name)."""
        clones = [name for name, volume in list(self.volumes.items()) if volume.origin == snapshot]
        name, _, part = snapshot.partition("@")
        volume = self.volumes.get(name)
        if volume is not None and volume.partial and volume.size_bytes and volume.snapshots[-1].name == part:
            clones.append(f"{name}/%recv")  # ZFS stores a partial receive there
        return tuple(sorted(clones))

    def used_by(self, volume: Volume) -> int:
        """Bytes that a volume uses or reserves."""
        origin = self.find_snapshot(volume.origin) if volume.origin else None
        return max(volume.reserved_bytes, volume.used_bytes(origin.blocks if origin else {}))

    def free_bytes(self) -> int:
        """Free space in bytes."""
        return max(0, self.size_bytes - sum(map(self.used_by, list(self.volumes.values()))))

    def write(self, volume: Volume, data: Mapping[int, bytes | None]) -> None:
        """Change blocks of a volume, in one new transaction group."""
        txg = self.next_txg()
        for number, block in data.items():
            volume.blocks[number] = Block(txg, block)


# --- streams: a first record as ZFS has it, a header, blocks, an end record with a checksum ------------------------
# A stream can be cut at any byte. The complete records before are kept, as by `zfs receive -s`.


_MAGIC = b"FAKESEND"
_LENGTH = struct.Struct(">I")
_RECORD = struct.Struct(">QI")
_END = 2**64 - 1


class Header(NamedTuple):
    """Source and target of a stream, size and block size of the volume, and the first record."""

    to_guid: str
    to_name: str
    from_guid: str | None
    size_bytes: int
    block_bytes: int
    first_record: int


Record = tuple[int, bytes | None]


def encode_stream(header: Header, records: list[Record]) -> bytes:
    """A stream of these records, without those before `first_record`."""
    fields = json.dumps(header).encode()
    begin = encode_begin(header.to_guid, header.from_guid, header.to_name)
    parts = [begin, _MAGIC, _LENGTH.pack(len(fields)), fields]
    for number, data in records[header.first_record :]:
        parts += [_RECORD.pack(number, len(data or b"")), data or b""]
    digest = hashlib.blake2b(b"".join(parts), digest_size=16).digest()
    return b"".join([*parts, _RECORD.pack(_END, len(digest)), digest])


def encode_begin(
    to_guid: str,
    from_guid: str | None,
    to_name: str,
    kind: int = ONE_SNAPSHOT,
    object_set: int = VOLUME,
    order: str = "<",
) -> bytes:
    """The first record of a stream; `order` is the byte order, as for `struct`."""
    return struct.pack(
        f"{order}{FIELDS}",
        BEGIN,
        0,
        MAGIC,
        kind,
        0,
        object_set,
        0,
        int(to_guid),
        int(from_guid or 0),
        to_name.encode(),
    )


class Decoder:
    """Decodes a stream in pieces: its header, complete records, and whether it is complete."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.is_complete = False
        self._pending = b""
        self._digest = hashlib.blake2b(digest_size=16)

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that `data` completes. ValueError when it is not a stream or is damaged."""
        self._pending += data
        if self.header is None and not self._take_header():
            return
        while len(self._pending) >= _RECORD.size:
            number, length = _RECORD.unpack_from(self._pending)
            end = _RECORD.size + length
            if len(self._pending) < end:
                return
            body = self._pending[_RECORD.size : end]
            if number == _END:
                if body != self._digest.digest():
                    raise ValueError("checksum mismatch")
                self.is_complete = True
                return
            self._take(end)
            yield number, body or None

    def _take_header(self) -> bool:
        start = BEGIN_BYTES + len(_MAGIC) + _LENGTH.size
        if len(self._pending) < start:
            return False
        if not self._pending.startswith(_MAGIC, BEGIN_BYTES):
            raise ValueError("invalid stream (bad magic number)")
        end = start + int(_LENGTH.unpack_from(self._pending, start - _LENGTH.size)[0])
        if len(self._pending) < end:
            return False
        self.header = Header(*json.loads(self._pending[start:end]))
        self._take(end)
        return True

    def _take(self, length: int) -> None:
        self._digest.update(self._pending[:length])
        self._pending = self._pending[length:]


def encode_token(partial: Partial) -> str:
    """The resume token of a partial receive."""
    fields: dict[str, object] = {
        "to_guid": partial.to_guid,
        "from_guid": partial.from_guid,
        "to_name": partial.to_name,
        "bytes": partial.bytes_done,
        "records": partial.records_done,
    }
    return "1-" + json.dumps(fields).encode().hex()


def decode_token(token: str) -> tuple[TokenFact, int]:
    """Contents of a token, and the first record to send. StateError when it is invalid."""
    try:
        fields = json.loads(bytes.fromhex(token[2:]))
        fact = TokenFact(fields["to_guid"], fields["from_guid"], fields["to_name"], fields["bytes"])
        return fact, int(fields["records"])
    except (ValueError, KeyError, TypeError):
        raise StateError(
            "the resume token is invalid: resume token is corrupt; discard the partial receive and send again"
        ) from None


# --- pools, and the reading commands of `zfs` ----------------------------------------------------------------------


_FIRST_SECOND = 1_700_000_000


class FakeReading:
    """The reading part of `ZfsCommands`, which documents it."""

    def __init__(self, pools: Mapping[str, int], now: Callable[[], float] | None = None) -> None:
        self.pools: dict[str, Pool] = {name: Pool(name, size) for name, size in pools.items()}
        self._now = now

    def read_pool(self, pool: str) -> PoolFact:
        found = self.pool_of(pool)
        used = found.size_bytes - found.free_bytes()
        return PoolFact(pool, used + found.free_bytes(), found.free_bytes(), found.health)

    def list_pools(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, pool in self.pools.items() if pool.is_imported))

    def read_volume(self, volume: str) -> VolumeFact | None:
        pool = self.pool_of(volume)
        if volume in pool.file_systems:
            raise StateError(f"{volume} is a filesystem, not a volume; rename or destroy it")
        found = pool.volumes.get(volume)
        return None if found is None else self._fact(pool, found)

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        found = {volume: self.read_volume(volume) for volume in volumes}
        return {volume: fact for volume, fact in found.items() if fact is not None}

    def list_volumes(self, pool: str) -> tuple[VolumeFact, ...]:
        found = self.pool_of(pool)
        volumes = (volume for name, volume in list(found.volumes.items()) if name.startswith(f"{pool}/"))
        return tuple(sorted(self._fact(found, volume) for volume in volumes))

    def read_history(self, volume: str) -> History:
        pool = self.pool_of(volume)
        found = pool.volumes.get(volume)
        if found is None:
            return History()
        bookmarks = (BookmarkFact(bookmark.name, bookmark.guid, bookmark.txg) for bookmark in found.bookmarks)
        return History(
            tuple(_snapshot_facts(pool, found)),
            tuple(sorted(bookmarks, key=lambda bookmark: (bookmark.createtxg, bookmark.name))),
        )

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        found = {name: self.pool_of(name).find_snapshot(name) for name in snapshots}
        return {name: snapshot.guid for name, snapshot in found.items() if snapshot is not None}

    def read_own(self, name: str) -> Mapping[str, str]:
        return dict(self._snapshot(name).properties)

    def read_written(self, volume: str, snapshot_name: str) -> int:
        return self._volume(volume).written_since(self._snapshot(f"{volume}@{snapshot_name}").txg)

    def shows_snapshots(self, volume: str) -> bool:
        return self._volume(volume).shows_snapshots

    def flush(self, volume: str) -> None:
        self.pool_of(volume)

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`; a missing device never appears."""
        pool = self.pool_of(name)
        volume = pool.volumes.get(name.partition("@")[0])
        is_there = volume is not None and volume.size_bytes > 0
        if "@" in name:
            is_there = is_there and volume.shows_snapshots and pool.find_snapshot(name) is not None  # type: ignore[union-attr]
        if not is_there:
            raise HostError(f"the device /dev/zvol/{name} did not appear")
        return f"/dev/zvol/{name}"

    def pool_of(self, name: str) -> Pool:
        """The pool of a dataset. StateError when it is not imported."""
        pool = self.pools.get(name.split("/")[0].split("@")[0])
        if pool is None or not pool.is_imported:
            raise StateError(
                f"this machine has no ZFS pool {name.split('/')[0]}: `zpool list` shows imported pools",
                code=Code.POOL_MISSING,
            )
        return pool

    def _volume(self, name: str) -> Volume:
        volume = self.pool_of(name).volumes.get(name)
        if volume is None:
            raise ToolError(f"zfs: cannot open '{name}': dataset does not exist")
        return volume

    def _snapshot(self, name: str) -> Snapshot:
        snapshot = self.pool_of(name).find_snapshot(name)
        if snapshot is None:
            raise ToolError(f"zfs: cannot open '{name}': dataset does not exist")
        return snapshot

    def _new_name(self, name: str) -> Pool:
        pool = self.pool_of(name)
        above = name.rpartition("/")[0]
        if name in pool.volumes or name in pool.file_systems:
            raise ToolError(f"zfs: cannot create '{name}': dataset already exists")
        if "/" in above and above not in pool.file_systems:
            raise ToolError(f"zfs: cannot create '{name}': parent does not exist")
        return pool

    def _create_file_system_above(self, name: str) -> None:
        above = name.rpartition("/")[0]
        while "/" in above:
            self.pool_of(name).file_systems.add(above)
            above = above.rpartition("/")[0]

    def _fact(self, pool: Pool, volume: Volume) -> VolumeFact:
        start = volume.snapshots[-1].txg if volume.snapshots else volume.created_txg
        return VolumeFact(
            volume.name,
            volume.guid,
            volume.size_bytes,
            volume.block_bytes,
            pool.used_by(volume),
            volume.written_since(start) + volume.log_bytes,
            volume.reserved_bytes,
            volume.origin,
            None if volume.partial is None else encode_token(volume.partial),
            tuple(sorted(volume.properties.items())),
            volume.referenced_bytes(),
            volume.is_synchronous,
            volume.is_read_only,
        )

    def _seconds(self, txg: int) -> int:
        return int(self._now()) if self._now is not None else _FIRST_SECOND + txg


def _snapshot_facts(pool: Pool, volume: Volume) -> list[SnapshotFact]:
    facts: list[SnapshotFact] = []
    before = 0
    for snapshot in volume.snapshots:
        as_it_was = Volume("", "", 1, volume.block_bytes, blocks=snapshot.blocks)
        facts.append(
            SnapshotFact(
                snapshot.name,
                snapshot.guid,
                snapshot.txg,
                snapshot.seconds,
                as_it_was.written_since(0),
                as_it_was.written_since(before),
                tuple(sorted(snapshot.holds)),
                pool.clones_of(f"{volume.name}@{snapshot.name}"),
                snapshot.properties.get(AUTOMATIC) == "on",
            )
        )
        before = snapshot.txg
    return facts


# --- sender and receiver of a stream -------------------------------------------------------------------------------


class FakeSend:
    """A `Transfer` that sends; its stream is read, and ends early when its sender is killed after those bytes."""

    def __init__(self, name: str, data: bytes, cut_after_bytes: int | None) -> None:
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
        self._error: RocksError | None = None
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

    def _store(self, number: int, block: bytes | None) -> None:
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


# --- commands of `zfs` on volumes, with the errors of ZFS ----------------------------------------------------------


class FakeVolumes(FakeReading):
    """The part of `ZfsCommands` on volumes, which documents it."""

    def create(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        pool = self._new_name(volume)
        _check_space(pool, volume, reserve_bytes)
        txg = pool.next_txg()
        made = Volume(volume, new_guid(), size_bytes, block_bytes, reserve_bytes, shaped_txg=txg)
        made.properties.update(properties)
        pool.volumes[volume] = made

    def clone_all(self, origins: Mapping[str, str], properties: Mapping[str, str]) -> None:
        for volume, snapshot in origins.items():
            pool = self._new_name(volume)
            found, origin = self._snapshot(snapshot), self._volume(snapshot.partition("@")[0])
            made = Volume(volume, new_guid(), found.size_bytes, origin.block_bytes, origin=snapshot)
            made.blocks = dict(found.blocks)
            made.created_txg = pool.next_txg()
            made.properties.update(properties)
            pool.volumes[volume] = made

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        pool, volume = self.pool_of(name), self._volume(name)
        for key, value in values.items():
            if key.startswith(OUR_PREFIX):
                volume.properties[key] = value
            elif key == "volsize":
                volume.size_bytes, volume.shaped_txg = int(value), pool.next_txg()
            elif key == "refreservation":
                reserved = 0 if value == "none" else int(value)
                _check_space(pool, name, reserved - pool.used_by(volume))
                volume.reserved_bytes = reserved
            elif key == "sync":
                volume.is_synchronous = value == "always"
            elif key == "readonly":
                volume.is_read_only = value == "on"
            elif key == "snapdev":
                volume.shows_snapshots = value == "visible"
            else:
                raise ToolError(f"zfs set of {name} failed: invalid property '{key}'")

    def rename(self, volume: str, new_name: str) -> None:
        self._create_file_system_above(new_name)
        pool, renamed = self._new_name(new_name), self._volume(volume)
        for other in pool.volumes.values():
            if other.origin is not None and other.origin.startswith(f"{volume}@"):
                other.origin = f"{new_name}@{other.origin.partition('@')[2]}"
        renamed.name = new_name
        pool.volumes[new_name] = pool.volumes.pop(volume)

    def promote(self, volume: str) -> None:
        pool, clone = self.pool_of(volume), self._volume(volume)
        if clone.origin is None:
            raise ToolError(f"zfs promote of {volume} failed: not a cloned filesystem")
        origin_name, _, part = clone.origin.partition("@")
        origin, shared = pool.volumes[origin_name], self._snapshot(clone.origin)
        moved = [snapshot for snapshot in origin.snapshots if snapshot.txg <= shared.txg]
        for other in pool.volumes.values():
            if other.origin in {f"{origin_name}@{snapshot.name}" for snapshot in moved}:
                other.origin = f"{volume}@{str(other.origin).partition('@')[2]}"
        clone.snapshots[:0] = moved
        origin.snapshots = origin.snapshots[len(moved) :]
        clone.origin, origin.origin = origin.origin, f"{volume}@{part}"

    def rollback(self, snapshot: str) -> None:
        volume, found = self._volume(snapshot.partition("@")[0]), self._snapshot(snapshot)
        if volume.snapshots[-1] is not found:
            raise ToolError(f"zfs rollback of {snapshot} failed: more recent snapshots or bookmarks exist")
        volume.blocks, volume.size_bytes = dict(found.blocks), found.size_bytes
        volume.shaped_txg = min(volume.shaped_txg, found.txg)
        volume.log_bytes = LOG_HEADER_BYTES

    def check_not_open(self, volume: str) -> None:
        if self._volume(volume).is_open:
            raise BusyError(f"the device /dev/zvol/{volume} is in use; nothing was changed")

    def destroy(self, name: str) -> None:
        pool = self.pool_of(name)
        if "#" in name:
            volume = self._volume(name.partition("#")[0])
            remaining = [b for b in volume.bookmarks if f"{volume.name}#{b.name}" != name]
            if remaining == volume.bookmarks:
                raise ToolError(f"zfs destroy of {name} failed: bookmark does not exist")
            volume.bookmarks = remaining
        elif "@" in name:
            volume_name, _, parts = name.partition("@")
            doomed = [self._snapshot(f"{volume_name}@{part}") for part in parts.split(",")]
            for snapshot in doomed:
                if snapshot.holds:
                    raise BusyError(f"zfs destroy of {name} failed: dataset is busy")
                if pool.clones_of(f"{volume_name}@{snapshot.name}"):
                    raise ToolError(f"zfs destroy of {name} failed: snapshot has dependent clones")
            volume = self._volume(volume_name)
            volume.snapshots = [snapshot for snapshot in volume.snapshots if snapshot not in doomed]
        else:
            volume = self._volume(name)
            if volume.snapshots:
                raise ToolError(f"zfs destroy of {name} failed: volume has children")
            if volume.is_open or volume.is_receiving:
                raise BusyError(f"zfs destroy of {name} failed: dataset is busy")
            del pool.volumes[name]


def _check_space(pool: Pool, name: str, more_bytes: int) -> None:
    if more_bytes > pool.free_bytes():
        raise PoolFullError(f"zfs: {name} failed: out of space; the pool is full")


# --- `zfs`: executes commands, and fails where ZFS fails -----------------------------------------------------------


_RECORD_BYTES = 12


class FakeZfsCommands(FakeVolumes):
    """`ZfsCommands` on pools in memory, and documented there."""

    def __init__(self, pools: Mapping[str, int], now: Callable[[], float] | None = None) -> None:
        super().__init__(pools, now)
        self.cut_next_send_after_bytes: int | None = None

    # --- snapshots, holds, bookmarks

    def snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        pool, volume = self.pool_of(snapshot), self._volume(snapshot.partition("@")[0])
        if pool.find_snapshot(snapshot) is not None:
            raise ToolError(f"zfs snapshot of {snapshot} failed: dataset already exists")
        txg = pool.next_txg()
        made = Snapshot(
            snapshot.partition("@")[2],
            new_guid(),
            txg,
            self._seconds(txg),
            dict(volume.blocks),
            volume.size_bytes,
        )
        made.properties.update(properties)
        volume.snapshots.append(made)
        volume.log_bytes = 0

    def hold(self, snapshot: str, tag: str) -> None:
        found = self._snapshot(snapshot)
        if tag in found.holds:
            raise ToolError(f"zfs hold of {snapshot} failed: tag already exists on this dataset")
        found.holds.add(tag)

    def release(self, snapshot: str, tag: str) -> None:
        found = self._snapshot(snapshot)
        if tag not in found.holds:
            raise ToolError(f"zfs release of {snapshot} failed: no such tag on this dataset")
        found.holds.remove(tag)

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """As `ZfsCommands.bookmark`; ZFS ignores an identical second call."""
        found = self._snapshot(snapshot)
        volume_name, _, part = bookmark.partition("#")
        bookmarks = self._volume(volume_name).bookmarks
        made = Bookmark(part, found.guid, found.txg)
        if made in bookmarks:
            return
        if any(other.name == part for other in bookmarks):
            raise ToolError(f"zfs bookmark of {snapshot} failed: bookmark exists")
        bookmarks.append(made)

    # --- streams

    def decode_token(self, token: str) -> TokenFact:
        return decode_token(token)[0]

    def estimate(self, spec: SendSpec) -> int:
        header, records = self._stream(spec)
        return sum(_RECORD_BYTES + len(data or b"") for _, data in records[header.first_record :])

    def send(self, spec: SendSpec) -> Transfer:
        cut, self.cut_next_send_after_bytes = self.cut_next_send_after_bytes, None
        return FakeSend(f"{spec.volume}@{spec.to_name}", encode_stream(*self._stream(spec)), cut)

    def receive(self, spec: ReceiveSpec) -> Transfer:
        pool = self.pool_of(spec.volume)
        volume = pool.volumes.get(spec.volume)
        if volume is not None and volume.is_receiving:
            raise BusyError(f"zfs receive into {spec.volume} failed: dataset is busy")
        self._create_file_system_above(spec.volume)
        return FakeReceive(pool, spec, lambda: self._seconds(pool.txg))

    def abort_receive(self, volume: str) -> None:
        found = self._volume(volume)
        if found.is_receiving:
            raise BusyError(f"zfs receive of {volume} failed: dataset is busy")
        found.partial = None
        if not found.size_bytes:
            del self.pool_of(volume).volumes[volume]

    def _stream(self, spec: SendSpec) -> tuple[Header, list[Record]]:
        volume = self._volume(spec.volume)
        from_guid, first_record = spec.from_guid, 0
        if spec.resume_token is not None:
            token, first_record = decode_token(spec.resume_token)
            from_guid = token.from_guid
        to = self._snapshot(f"{spec.volume}@{spec.to_name}")
        start = 0 if from_guid is None else self._txg_of(volume, from_guid)
        records = [
            (number, block.data)
            for number, block in sorted(to.blocks.items())
            if block.birth > start and (block.data is not None or from_guid is not None)
        ]
        name = f"{spec.volume}@{spec.to_name}"
        return Header(to.guid, name, from_guid, to.size_bytes, volume.block_bytes, first_record), records

    def _txg_of(self, volume: Volume, guid: str) -> int:
        """Transaction group of the snapshot or bookmark that a stream starts from."""
        known = [(snapshot.guid, snapshot.txg) for snapshot in volume.snapshots]
        known += [(bookmark.guid, bookmark.txg) for bookmark in volume.bookmarks]
        txg = dict(known).get(guid)
        if txg is None:
            raise ToolError(f"zfs send of {volume.name} failed: incremental source {guid} no longer exists")
        return txg


# --- the operations of the real driver on `FakeZfsCommands` --------------------------------------------------------
# The pools outlive the daemon that uses them, so a test can kill it between two calls and start it again.


_DEFAULT_BYTES = 100 * BYTES_PER_GIB


class FakePools(PoolDriver):
    """Pools of these names and sizes. `now` returns the creation time of snapshots in seconds since 1970."""

    def __init__(
        self, pools: Mapping[str, int] | None = None, now: Callable[[], float] | None = None
    ) -> None:
        self.fake = FakeZfsCommands(pools if pools is not None else {"tank": _DEFAULT_BYTES}, now)
        super().__init__(self.fake)

    # --- guests, exports, disks

    def write(self, volume: str, data: bytes, offset_bytes: int = 0) -> None:
        """Write to the volume's device. OSError when the pool is full, or the volume is read only."""
        found = self._find(volume)
        if found.is_read_only:
            raise OSError(1, "the volume is read only")
        size = found.block_bytes
        first, last = offset_bytes // size, (offset_bytes + len(data) - 1) // size
        changed: dict[int, bytes | None] = {}
        for number in range(first, last + 1):
            block = found.blocks.get(number)
            old = block.data if block is not None and block.data is not None else bytes(size)
            begin = max(offset_bytes - number * size, 0)
            piece = data[max(number * size - offset_bytes, 0) : (number + 1) * size - offset_bytes]
            new = old[:begin] + piece + old[begin + len(piece) :]
            changed[number] = new if any(new) else None
        if (last + 1) * size > found.size_bytes:
            raise OSError(28, "beyond the end of the volume")
        pool = self.fake.pool_of(volume)
        if sum(len(block) for block in changed.values() if block is not None) > pool.free_bytes():
            raise OSError(5, "the pool is full")
        pool.write(found, changed)

    def read(self, name: str, length: int, offset_bytes: int = 0) -> bytes:
        """Read from the device of a volume or snapshot (`volume@snapshot`)."""
        size = self._find(name.partition("@")[0]).block_bytes
        blocks = self.content(name)
        first, last = offset_bytes // size, (offset_bytes + length - 1) // size
        whole = b"".join(blocks.get(number, bytes(size)) for number in range(first, last + 1))
        return whole[offset_bytes - first * size :][:length]

    def content(self, name: str) -> Mapping[int, bytes]:
        """All non-zero blocks of a volume or snapshot by number; equal contents compare equal."""
        snapshot = self.fake.pool_of(name).find_snapshot(name) if "@" in name else None
        blocks = snapshot.blocks if snapshot is not None else self._find(name).blocks
        return {number: block.data for number, block in sorted(blocks.items()) if block.data is not None}

    def open_device(self, volume: str) -> None:
        """Open the volume's device exclusively. BusyError when it is open."""
        found = self._find(volume)
        if found.is_open:
            raise BusyError(f"the device /dev/zvol/{volume} is in use")
        found.is_open = True

    def close_device(self, volume: str) -> None:
        """Close the device; no effect when it is not open or missing."""
        found = self.fake.pool_of(volume).volumes.get(volume)
        if found is not None:
            found.is_open = False

    # --- failures

    def cut_next_send(self, after_bytes: int) -> None:
        """Kill the next sender after that many bytes of its stream."""
        self.fake.cut_next_send_after_bytes = after_bytes

    def leave_free(self, pool: str, free_bytes: int) -> None:
        """Set the pool size so that this much is free."""
        found = self._pool(pool)
        found.size_bytes = sum(map(found.used_by, found.volumes.values())) + free_bytes

    def export_pool(self, pool: str) -> None:
        """Remove the pool, as after a boot without its disks."""
        self._pool(pool).is_imported = False

    def import_pool(self, pool: str) -> None:
        """Bring the pool back, with all devices closed."""
        found = self.fake.pools[pool]
        found.is_imported = True
        for volume in found.volumes.values():
            volume.is_open = False

    def add_file_system(self, name: str) -> None:
        """Add a file system."""
        self._pool(name).file_systems.add(name)

    def _pool(self, name: str) -> Pool:
        return self.fake.pools[name.split("/")[0]]

    def _find(self, volume: str) -> Volume:
        return self._pool(volume).volumes[volume]
