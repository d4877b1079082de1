"""`zfs` in memory: executes commands, and fails where ZFS fails."""

from __future__ import annotations

from typing import Callable, List, Mapping, Optional, Tuple

from rocks.core.errors import BusyError, ToolError
from rocks.storage.zfs.commands import Transfer
from rocks.storage.zfs.facts import ReceiveSpec, SendSpec, TokenFact
from rocks.storage.zfs.fake.contents import Bookmark, Snapshot, Volume, new_guid
from rocks.storage.zfs.fake.streams import Header, Record, decode_token, encode_stream
from rocks.storage.zfs.fake.transfers import FakeReceive, FakeSend
from rocks.storage.zfs.fake.volumes import FakeVolumes

_RECORD_BYTES = 12


class FakeZfsCommands(FakeVolumes):
    """`ZfsCommands` on pools in memory, and documented there."""

    def __init__(self, pools: Mapping[str, int], now: Optional[Callable[[], float]] = None) -> None:
        super().__init__(pools, now)
        self.cut_next_send_after_bytes: Optional[int] = None

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

    def _stream(self, spec: SendSpec) -> Tuple[Header, List[Record]]:
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
