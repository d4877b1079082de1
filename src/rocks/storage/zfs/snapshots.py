"""Snapshots, holds, bookmarks and rollback."""

from __future__ import annotations

from typing import Mapping

from rocks.core.errors import IncoherentError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.zfs.facts import History, SnapshotFact
from rocks.storage.zfs.names import check_part, check_properties
from rocks.storage.zfs.reading import PoolReading
from rocks.storage.zfs.rules import (
    check_rollback,
    check_snapshot_destroyable,
    known_bookmark,
    known_snapshot,
    needed_snapshot,
)
from rocks.storage.zfs.volumes import settle


class SnapshotOperations(PoolReading):
    """The methods of `PoolDriver` on snapshots, holds and bookmarks, by `ZfsCommands`."""

    def written_since(self, volume: str, snapshot_name: str, snapshot_guid: str) -> int:
        """Bytes written to the volume since that snapshot, including all writes flushed before the call."""
        self._commands.flush(volume)
        needed_snapshot(self._history(volume, snapshot_name), volume, snapshot_name, snapshot_guid)
        return self._commands.read_written(volume, snapshot_name)

    def ensure_snapshot(
        self, volume: str, volume_guid: str, name: str, properties: Mapping[str, str]
    ) -> SnapshotFact:
        """Create a snapshot with these properties. IncoherentError when it exists with others."""
        check_properties(properties, of_snapshot=True)
        history = self._history(volume, name)
        self._known(volume, volume_guid)
        if history.snapshot(name) is None:
            settle(
                lambda: self._commands.snapshot(f"{volume}@{name}", properties),
                lambda: self._history(volume, name).snapshot(name) is not None,
            )
        found = self._commands.read_own(f"{volume}@{name}")
        if dict(found) != dict(properties):
            raise IncoherentError(
                f"the snapshot {volume}@{name} exists with other properties: "
                f"{dict(found)}, not {dict(properties)}"
            )
        made = self._history(volume, name).snapshot(name)
        if made is None:
            raise IncoherentError(
                f"the snapshot {volume}@{name} was destroyed immediately after its creation"
            )
        return made

    def ensure_snapshot_gone(self, volume: str, name: str, guid: str) -> Change:
        """Destroy a snapshot. StateError when it is held or has clones."""
        snapshot = known_snapshot(self._history(volume, name), volume, name, guid)
        if snapshot is None:
            return UNCHANGED
        check_snapshot_destroyable(volume, snapshot)
        return settle(
            lambda: self._commands.destroy(f"{volume}@{name}"),
            lambda: self._history(volume, name).snapshot(name) is None,
        )

    def ensure_hold(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Hold the snapshot with a tag. StateError without the snapshot."""
        check_part(tag)

        def is_so() -> bool:
            return tag in needed_snapshot(self._history(volume, name), volume, name, guid).holds

        return UNCHANGED if is_so() else settle(lambda: self._commands.hold(f"{volume}@{name}", tag), is_so)

    def ensure_released(self, volume: str, name: str, guid: str, tag: str) -> Change:
        """Release the hold with that tag."""
        check_part(tag)

        def is_so() -> bool:
            snapshot = known_snapshot(self._history(volume, name), volume, name, guid)
            return snapshot is None or tag not in snapshot.holds

        return (
            UNCHANGED if is_so() else settle(lambda: self._commands.release(f"{volume}@{name}", tag), is_so)
        )

    def ensure_bookmark(self, volume: str, name: str, guid: str, bookmark: str) -> Change:
        """Create a bookmark of the snapshot. StateError when both are missing."""
        check_part(bookmark)

        def is_so() -> bool:
            return known_bookmark(self._history(volume, name), volume, bookmark, guid) is not None

        if is_so():
            return UNCHANGED
        needed_snapshot(self._history(volume, name), volume, name, guid)
        return settle(lambda: self._commands.bookmark(f"{volume}@{name}", f"{volume}#{bookmark}"), is_so)

    def ensure_bookmark_gone(self, volume: str, bookmark: str, guid: str) -> Change:
        """Destroy a bookmark."""

        def is_so() -> bool:
            return known_bookmark(self._history(volume, bookmark), volume, bookmark, guid) is None

        return UNCHANGED if is_so() else settle(lambda: self._commands.destroy(f"{volume}#{bookmark}"), is_so)

    def ensure_rolled_back(self, volume: str, guid: str, snapshot_name: str, snapshot_guid: str) -> Change:
        """Roll back to the newest snapshot. StateError when that snapshot is not the newest."""
        self._commands.flush(volume)
        history = self._history(volume, snapshot_name)
        fact = self._known(volume, guid)
        snapshot = needed_snapshot(history, volume, snapshot_name, snapshot_guid)
        check_rollback(volume, history, snapshot)
        if not self._exactly_written(fact, history).written_bytes:
            return UNCHANGED
        self._commands.check_not_open(volume)
        self._commands.rollback(f"{volume}@{snapshot_name}")
        return CHANGED

    def _history(self, volume: str, part: str) -> History:
        check_part(part)
        return self.read_history(volume)
