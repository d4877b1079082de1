"""Operations on ZFS as Protocols: `pools.py` implements them by `zfs` and `zpool`, `fake/pools.py` in memory.

Volumes are specified by full name (`tank/vm-vc1-0-vol`), snapshots and bookmarks of a volume by the part after `@` or
`#`. Methods with a guid raise IncoherentError when the dataset of that name has another guid, and change nothing.
Every `ensure_` method is idempotent and tolerates a concurrent call with the same effect.
"""

from __future__ import annotations

from typing import IO, Mapping, Optional, Protocol, Sequence, Tuple

from rocks.core.clock import Deadline
from rocks.fleet.host.change import Change
from rocks.storage.zfs.facts import (
    History,
    PoolFact,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
)


class Transfer(Protocol):
    """One end of a running stream."""

    @property
    def stream(self) -> IO[bytes]:
        """The pipe to read from (send) or write to (receive). BrokenPipeError when the receiver has ended."""

    def finish(self, deadline: Deadline) -> None:
        """Close the stream and wait for the process. ToolError with the message of `zfs` when it failed.

        A receive of an incomplete stream fails; a resumable one keeps the received part.
        """

    def kill(self) -> None:
        """Kill the process and wait for its end. No effect when it has ended.

        A resumable receive keeps the part that it has read, which may be empty: the pipe holds up to 1 MiB.
        HostError when the process cannot be killed.
        """


class PoolDriver(Protocol):
    """Pools of a host. Every method raises StateError when the pool is missing: a lost pool is not an empty pool."""

    # --- reading

    def read_pool(self, pool: str) -> PoolFact:
        """A pool, or the part of one below the file system of that name."""

    def list_pools(self) -> Tuple[str, ...]:
        """The names of the imported pools."""

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """A volume, or None. StateError when a file system has that name."""

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """All volumes below a pool or file system by name, including partially received ones."""

    def read_history(self, volume: str) -> History:
        """Snapshots and bookmarks; empty without such a volume."""

    def written_since(self, volume: str, snapshot_name: str, snapshot_guid: str) -> int:
        """Bytes written to the volume since that snapshot, including all writes flushed before the call."""

    def decode_token(self, token: str) -> TokenFact:
        """The contents of a resume token. StateError when it is invalid."""

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """The path of the block device of a volume, or of `volume@snapshot` (with `snapdev=visible`).

        HostError at the deadline.
        """

    # --- volumes

    def ensure_volume(self, volume: str, size_bytes: int, block_bytes: int, reserve_bytes: int = 0) -> Change:
        """Create a sparse volume. IncoherentError when it exists with another size or block size."""

    def ensure_clone(self, volume: str, origin_snapshot: str, origin_guid: str) -> Change:
        """Create the volume as a clone of a snapshot (full name)."""

    def ensure_clones(
        self, volumes: Sequence[str], origin_snapshot: str, origin_guid: str
    ) -> Tuple[str, ...]:
        """Create the volumes as clones of one snapshot, several at a time; returns those that were missing.

        After an error some of them may exist.
        """

    def ensure_size(self, volume: str, guid: str, size_bytes: int) -> Change:
        """Grow a volume, also while it is in use. StateError when it is larger."""

    def ensure_reserved(self, volume: str, guid: str, reserve_bytes: int) -> Change:
        """Set `refreservation`. PoolFullError when the pool is too full."""

    def ensure_properties(self, volume: str, guid: str, properties: Mapping[str, str]) -> Change:
        """Set user properties (`imgstore:…`) in one operation."""

    def ensure_snapshots_visible(self, volume: str, guid: str) -> Change:
        """Create block devices of the volume's snapshots (`snapdev=visible`)."""

    def ensure_snapshots_hidden(self, volume: str, guid: str) -> Change:
        """Remove block devices of the volume's snapshots (`snapdev=hidden`)."""

    def ensure_synchronous(self, volume: str, guid: str) -> Change:
        """Set `sync=always`."""

    def ensure_read_only(self, volume: str, guid: str) -> Change:
        """Set `readonly=on`: the volume's device takes no writes. Its clones do."""

    def ensure_renamed(self, volume: str, guid: str, new_name: str) -> Change:
        """Rename the volume within its pool; a missing parent file system is created."""

    def ensure_promoted(self, volume: str, guid: str) -> Change:
        """Promote a clone: it owns the shared snapshots, and its origin becomes the clone."""

    def ensure_volume_gone(
        self,
        volume: str,
        guid: str,
        with_snapshots: Sequence[Tuple[str, str]] = (),
        may_lose_bytes: Optional[int] = 0,
    ) -> Change:
        """Destroy a volume with its bookmarks and the listed snapshots (name, guid).

        StateError when it has other snapshots, a hold, a clone, or more than `may_lose_bytes` written since the newest
        snapshot (since its creation without one); None allows any amount. BusyError while its device is open.
        """

    # --- snapshots, holds, bookmarks

    def ensure_snapshot(
        self, volume: str, volume_guid: str, name: str, properties: Mapping[str, str]
    ) -> SnapshotFact:
        """Create a snapshot with these properties. IncoherentError when it exists with others."""

    def ensure_snapshot_gone(self, volume: str, name: str, guid: str) -> Change:
        """Destroy a snapshot. StateError when it is held or has clones."""

    def ensure_hold(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Hold the snapshot with a tag. StateError without the snapshot."""

    def ensure_released(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Release the hold with that tag."""

    def ensure_bookmark(self, volume: str, name: str, guid: str, bookmark: str) -> Change:
        """Create a bookmark of the snapshot. StateError when both are missing."""

    def ensure_bookmark_gone(self, volume: str, bookmark: str, guid: str) -> Change:
        """Destroy a bookmark."""

    def ensure_rolled_back(self, volume: str, guid: str, snapshot_name: str, snapshot_guid: str) -> Change:
        """Roll back to the newest snapshot. StateError when that snapshot is not the newest."""

    # --- streams

    def estimate_send(self, spec: SendSpec) -> int:
        """Estimated size of the stream in bytes."""

    def start_send(self, spec: SendSpec) -> Transfer:
        """Start a send. StateError when its source or incremental source is missing.

        A resumed send looks for its source by guid, first below the volume and then beside it. There OpenZFS 2.1 may
        find a snapshot of another volume with the same guid, and `finish` fails with "Invalid cross-device link": then
        discard the partial receive and send again.
        """

    def start_receive(self, spec: ReceiveSpec) -> Transfer:
        """Start a receive. IncoherentError when the newest snapshot of the volume is not the incremental source.

        StateError when the volume exists and must not, is missing, or has a partial receive. A receive never rolls the
        volume back. The write that completes the stream's first record (312 bytes) raises IncoherentError unless the
        stream is of one snapshot of a volume and has the specified source; nothing is received then.
        """

    def ensure_partial_gone(self, volume: str) -> Change:
        """Discard a partial receive; a volume without a complete stream is destroyed."""
