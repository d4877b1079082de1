"""Single `zfs` commands as a Protocol, without checks: `volumes.py`, `snapshots.py`, `stream_operations.py` decide.

Each raises ToolError with the message of `zfs`, BusyError when the dataset is in use, and StateError when the pool is
missing or full.
"""

from __future__ import annotations

from typing import IO, Mapping, Optional, Protocol, Sequence, Tuple

from rocks.core.clock import Deadline
from rocks.storage.zfs.facts import History, PoolFact, ReceiveSpec, SendSpec, TokenFact, VolumeFact


class Transfer(Protocol):
    """One end of a running stream."""

    @property
    def stream(self) -> IO[bytes]:
        """The pipe to read from (send) or write to (receive). BrokenPipeError when the receiver has ended."""

    def finish(self, deadline: Deadline) -> None:
        """Close the stream and wait for the process. ToolError with the message of `zfs` when it failed.

        A receive of an incomplete stream fails, and keeps the received part.
        """

    def kill(self) -> None:
        """Kill the process and wait for its end. No effect when it has ended.

        A receive keeps the part that it has read, which may be empty: the pipe holds up to 1 MiB.
        HostError when the process cannot be killed.
        """


class ZfsCommands(Protocol):
    """`zfs` and `zpool`, or their fake. Snapshots and bookmarks are full names here."""

    def read_pool(self, pool: str) -> PoolFact:
        """As `PoolDriver.read_pool`."""

    def list_pools(self) -> Tuple[str, ...]:
        """As `PoolDriver.list_pools`."""

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """As `PoolDriver.read_volume`."""

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        """As `PoolDriver.read_volumes`."""

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """As `PoolDriver.list_volumes`."""

    def read_history(self, volume: str) -> History:
        """As `PoolDriver.read_history`."""

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        """As `PoolDriver.read_guids`."""

    def read_own(self, name: str) -> Mapping[str, str]:
        """The `imgstore:` properties of a snapshot."""

    def read_written(self, volume: str, snapshot_name: str) -> int:
        """Bytes written to the volume since that snapshot, as of the last `flush`."""

    def shows_snapshots(self, volume: str) -> bool:
        """Whether `snapdev` is visible."""

    def flush(self, volume: str) -> None:
        """Sync the open transaction group, so that `read_written` includes all writes."""

    def create(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        """Create a sparse volume, which has these user properties from the beginning."""

    def clone_all(self, origins: Mapping[str, str], properties: Mapping[str, str]) -> None:
        """Clone snapshots: volume → its snapshot; all get the properties. After an error some of them may exist."""

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        """Set properties of a volume in one command."""

    def rename(self, volume: str, new_name: str) -> None:
        """Rename a volume; creates the parent file system."""

    def promote(self, volume: str) -> None:
        """Promote a clone."""

    def rollback(self, snapshot: str) -> None:
        """Roll a volume back to its newest snapshot."""

    def check_not_open(self, volume: str) -> None:
        """BusyError when the volume's device is opened exclusively."""

    def destroy(self, name: str) -> None:
        """Destroy a volume without snapshots, snapshots (`volume@one,two`, all or none), or a bookmark."""

    def snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        """Create a snapshot."""

    def hold(self, snapshot: str, tag: str) -> None:
        """Hold a snapshot."""

    def release(self, snapshot: str, tag: str) -> None:
        """Release a hold."""

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """Create a bookmark of a snapshot."""

    def decode_token(self, token: str) -> TokenFact:
        """As `PoolDriver.decode_token`."""

    def estimate(self, spec: SendSpec) -> int:
        """Estimated size of a stream in bytes."""

    def send(self, spec: SendSpec) -> Transfer:
        """Start a send."""

    def receive(self, spec: ReceiveSpec) -> Transfer:
        """Start a receive; creates the parent file system."""

    def abort_receive(self, volume: str) -> None:
        """Discard a partial receive."""

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`."""
