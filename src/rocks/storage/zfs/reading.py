"""The reading half of `PoolDriver`; base class of the operations."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Tuple

from rocks.core.clock import Deadline
from rocks.storage.zfs.commands import ZfsCommands
from rocks.storage.zfs.facts import History, PoolFact, VolumeFact
from rocks.storage.zfs.names import check_dataset, check_snapshot, check_volume
from rocks.storage.zfs.rules import known_volume


class PoolReading:
    """The methods of `PoolDriver` that read, by `ZfsCommands`."""

    def __init__(self, commands: ZfsCommands) -> None:
        self._commands = commands

    def read_pool(self, pool: str) -> PoolFact:
        """A pool, or the part of one below the file system of that name."""
        check_dataset(pool)
        return self._commands.read_pool(pool)

    def list_pools(self) -> Tuple[str, ...]:
        """The names of the imported pools."""
        return self._commands.list_pools()

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        """A volume, or None. StateError when a file system has that name."""
        check_volume(volume)
        return self._commands.read_volume(volume)

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        """Those of the volumes that exist, by name, all at once. StateError when a file system has one of the names."""
        for volume in volumes:
            check_volume(volume)
        return self._commands.read_volumes(volumes)

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        """Snapshot → its guid, by full name, for those that exist, all at once."""
        for snapshot in snapshots:
            check_snapshot(snapshot)
        return self._commands.read_guids(snapshots)

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        """All volumes below a pool or file system by name, including partially received ones."""
        check_dataset(pool)
        return self._commands.list_volumes(pool)

    def read_history(self, volume: str) -> History:
        """Snapshots and bookmarks; empty without such a volume."""
        check_volume(volume)
        return self._commands.read_history(volume)

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """The path of the block device of a volume, or of `volume@snapshot` (with `snapdev=visible`).

        HostError at the deadline.
        """
        check_snapshot(name) if "@" in name else check_volume(name)
        return self._commands.wait_for_device(name, deadline)

    def _exactly_written(self, fact: VolumeFact, history: History) -> VolumeFact:
        """The volume with exact `written_bytes`."""
        if not fact.written_bytes or history.newest is None:
            return fact
        return fact._replace(written_bytes=self._commands.read_written(fact.name, history.newest.name))

    def _known(self, volume: str, guid: str) -> VolumeFact:
        """The volume with that guid. StateError when it is missing, IncoherentError for another guid."""
        return known_volume(self.read_volume(volume), volume, guid)
