"""What can be done with ZFS, as shapes: the programs behind `pools.py`, memory behind `fake/pools.py`.

Volumes are meant by their whole name (`tank/vm-vc1-0-vol`), snapshots and bookmarks of a volume by what follows the `@`
or `#`. Where a guid is given, IncoherentError when the thing of that name has another one: nothing is changed then.
Every `ensure_` can be repeated, and somebody else's doing the same at the same time is no error.
"""

from __future__ import annotations

from typing import IO, Mapping, Optional, Protocol, Sequence, Tuple

from rocks.clock import Deadline
from rocks.devices.change import Change
from rocks.devices.zfs.facts import (
    History,
    PoolFact,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
)


class Transfer(Protocol):
    """One end of a stream under way."""

    @property
    def stream(self) -> IO[bytes]:
        """Where it is read from (send) or written to (receive). BrokenPipeError when the receiver has given up."""

    def finish(self, deadline: Deadline) -> None:
        """No more will be read or written; wait for the end. ToolError with the tool's own words when it failed.

        A receive that was not given the whole stream fails, and keeps what it got when it is resumable.
        """

    def kill(self) -> None:
        """End it now, whatever it does, and wait until it is gone. Harmless when it has ended.

        A resumable receive keeps what it had read by then, which may be nothing: a pipe holds up to 1 MiB.
        HostError when the kernel does not let go of it.
        """


class PoolDriver(Protocol):
    """What both can do. StateError everywhere when the pool is not there: a lost pool is no empty pool."""

    # --- reading

    def read_pool(self, pool: str) -> PoolFact:
        """A pool, or the part of one below a file system of that name."""

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """A volume, None when there is none. StateError when a file system has that name."""

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """All volumes below a pool or file system, those half received as well, by name."""

    def read_history(self, volume: str) -> History:
        """Snapshots and bookmarks; none when there is no such volume."""

    def written_since(self, volume: str, snapshot_name: str, snapshot_guid: str) -> int:
        """Bytes that the volume has written since that snapshot. All that was flushed to the device before counts."""

    def decode_token(self, token: str) -> TokenFact:
        """What a resume token stands for. StateError when it is no sound one."""

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """The path of the block device of a volume, or of `volume@snapshot` (whose volume shows its snapshots).

        HostError when it is not there in time.
        """

    # --- volumes

    def ensure_volume(self, volume: str, size_bytes: int, block_bytes: int, reserve_bytes: int = 0) -> Change:
        """Have a sparse volume of that size. IncoherentError when there is one of another size."""

    def ensure_clone(self, volume: str, origin_snapshot: str, origin_guid: str) -> Change:
        """Have the volume as a clone of a snapshot (whole name)."""

    def ensure_size(self, volume: str, guid: str, size_bytes: int) -> Change:
        """Grow a volume, in use or not. StateError when it is larger."""

    def ensure_reserved(self, volume: str, guid: str, reserve_bytes: int) -> Change:
        """Keep room in the pool for that much of the volume. StateError when the pool has not got it."""

    def ensure_properties(self, volume: str, guid: str, properties: Mapping[str, str]) -> Change:
        """Have these properties, whose names begin with `imgstore:`, all at once."""

    def ensure_snapshots_visible(self, volume: str, guid: str) -> Change:
        """Have block devices of the volume's snapshots."""

    def ensure_snapshots_hidden(self, volume: str, guid: str) -> Change:
        """Have no block devices of the volume's snapshots."""

    def ensure_synchronous(self, volume: str, guid: str) -> Change:
        """Have each write on the pool's disks before it is answered, whatever the writer asks for."""

    def ensure_renamed(self, volume: str, guid: str, new_name: str) -> Change:
        """Have the volume under another name of the same pool; the file system above is made when it is missing."""

    def ensure_promoted(self, volume: str, guid: str) -> Change:
        """Have a clone own the snapshots that it shares with its origin, which becomes the clone."""

    def ensure_volume_gone(
        self,
        volume: str,
        guid: str,
        with_snapshots: Sequence[Tuple[str, str]] = (),
        may_lose_bytes: Optional[int] = 0,
    ) -> Change:
        """Destroy a volume together with the snapshots named (name, guid), and with its bookmarks.

        StateError when it has other snapshots, a hold, a clone, or more than `may_lose_bytes` written since the newest
        snapshot (since ever, when it has none); None: whatever was written may go. BusyError while its device is open.
        """

    # --- the past of a volume

    def ensure_snapshot(
        self, volume: str, volume_guid: str, name: str, properties: Mapping[str, str]
    ) -> SnapshotFact:
        """Have a snapshot with these properties. IncoherentError when there is one with others."""

    def ensure_snapshot_gone(self, volume: str, name: str, guid: str) -> Change:
        """Destroy a snapshot. StateError when it is held or has clones."""

    def ensure_hold(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Have the snapshot held under a tag. StateError when there is no such snapshot."""

    def ensure_released(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Have it not held under that tag."""

    def ensure_bookmark(self, volume: str, name: str, guid: str, bookmark: str) -> Change:
        """Have a bookmark of the snapshot. StateError when neither is there."""

    def ensure_bookmark_gone(self, volume: str, bookmark: str, guid: str) -> Change:
        """Have no such bookmark."""

    def ensure_rolled_back(self, volume: str, guid: str, snapshot_name: str, snapshot_guid: str) -> Change:
        """Undo what was written since the newest snapshot. StateError when that snapshot is not the newest."""

    # --- streams

    def estimate_send(self, spec: SendSpec) -> int:
        """About how many bytes the stream will have."""

    def start_send(self, spec: SendSpec) -> Transfer:
        """Begin a stream. StateError when what it is made of is gone.

        A resumed one finds its start by the guid, first below the volume and then beside it. OpenZFS 2.1 may find
        another volume's snapshot of the same guid there, and `finish` fails with "Invalid cross-device link": then
        forget what was received, and send anew.
        """

    def start_receive(self, spec: ReceiveSpec) -> Transfer:
        """Begin to take a stream in. IncoherentError when the volume is not what the stream starts from.

        StateError when the volume exists and should not, or the other way round, or a cut stream is in the way. Nothing
        that the volume has is ever undone for a stream.
        """

    def ensure_partial_gone(self, volume: str) -> Change:
        """Forget what a cut stream left; the volume itself goes with it when it never had a whole one."""
