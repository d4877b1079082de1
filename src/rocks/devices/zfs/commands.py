"""The few things that `zfs` does for us, as a shape; when and whether they may be done is decided above it.

Each raises ToolError with the tool's words when it is refused, BusyError when the thing is in use, and StateError when
the pool is missing or full.
"""

from __future__ import annotations

from typing import Mapping, Optional, Protocol, Tuple

from rocks.clock import Deadline
from rocks.devices.zfs.driver import Transfer
from rocks.devices.zfs.facts import History, PoolFact, ReceiveSpec, SendSpec, TokenFact, VolumeFact


class ZfsCommands(Protocol):
    """`zfs` and `zpool`, or what plays them. Snapshots and bookmarks are whole names here."""

    def read_pool(self, pool: str) -> PoolFact:
        """As `PoolDriver.read_pool`."""

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """As `PoolDriver.read_volume`."""

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """As `PoolDriver.list_volumes`."""

    def read_history(self, volume: str) -> History:
        """As `PoolDriver.read_history`."""

    def read_guid(self, name: str) -> Optional[str]:
        """The guid of a snapshot, None when there is none."""

    def read_own(self, name: str) -> Mapping[str, str]:
        """The properties of ours that are set on a snapshot."""

    def read_written(self, volume: str, snapshot_name: str) -> int:
        """Bytes that the volume has written since that snapshot, as of the last `flush`."""

    def shows_snapshots(self, volume: str) -> bool:
        """Whether its snapshots have devices."""

    def flush(self, volume: str) -> None:
        """Have the pool's open transaction group on the disks, so that what is read counts all that was written."""

    def create(self, volume: str, size_bytes: int, block_bytes: int, reserve_bytes: int) -> None:
        """Make a sparse volume."""

    def clone(self, snapshot: str, volume: str) -> None:
        """Make a volume of a snapshot."""

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        """Set properties of a volume in one step."""

    def rename(self, volume: str, new_name: str) -> None:
        """Give a volume another name; makes the file system above it."""

    def promote(self, volume: str) -> None:
        """Turn a clone and its origin round."""

    def rollback(self, snapshot: str) -> None:
        """Make a volume what its newest snapshot is."""

    def check_not_open(self, volume: str) -> None:
        """BusyError when somebody has the volume's device for himself."""

    def destroy(self, name: str) -> None:
        """Destroy a volume without snapshots, snapshots (`volume@one,two`, all or none), or a bookmark."""

    def snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        """Make a snapshot."""

    def hold(self, snapshot: str, tag: str) -> None:
        """Hold a snapshot."""

    def release(self, snapshot: str, tag: str) -> None:
        """Release a hold."""

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """Make a bookmark of a snapshot."""

    def decode_token(self, token: str) -> TokenFact:
        """As `PoolDriver.decode_token`."""

    def estimate(self, spec: SendSpec) -> int:
        """Bytes that a stream will have."""

    def send(self, spec: SendSpec) -> Transfer:
        """Begin a stream."""

    def receive(self, spec: ReceiveSpec) -> Transfer:
        """Begin to take a stream in; makes the file system above the volume."""

    def abort_receive(self, volume: str) -> None:
        """Forget what a cut stream left."""

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`."""
