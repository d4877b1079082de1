"""Volumes: create, clone, grow, rename, promote, destroy; each compares first and then runs one `zfs` command."""

from __future__ import annotations

from types import MappingProxyType
from typing import Callable, Mapping, Optional, Sequence, Tuple

from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.zfs.names import check_properties, check_size, check_snapshot, check_volume
from rocks.storage.zfs.reading import PoolReading
from rocks.storage.zfs.rules import DOOMED, check_guid, check_volume_destroyable

_SNAPSHOT_DEVICES = "snapdev"


def settle(act: Callable[[], None], is_so: Callable[[], bool]) -> Change:
    """Run `act`; a failure is ignored when `is_so` is true afterwards, by a concurrent process."""
    try:
        act()
    except RocksError:
        if is_so():
            return UNCHANGED
        raise
    return CHANGED


class VolumeOperations(PoolReading):
    """The methods of `PoolDriver` on volumes, by `ZfsCommands`."""

    def ensure_volume(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int = 0,
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> Change:
        """Create a sparse volume, which has these user properties (`imgstore:…`) from its first moment.

        IncoherentError when it exists with another size or block size; the properties of an existing one stay.
        """
        check_volume(volume)
        check_properties(properties)
        check_size(volume, size_bytes, block_bytes)

        def is_so() -> bool:
            fact = self._commands.read_volume(volume)
            if fact is not None and (fact.size_bytes, fact.block_bytes) != (size_bytes, block_bytes):
                raise IncoherentError(
                    f"{volume} exists with {fact.size_bytes} bytes in blocks of {fact.block_bytes}, "
                    f"not {size_bytes} in blocks of {block_bytes}"
                )
            return fact is not None

        if is_so():
            return UNCHANGED
        return settle(
            lambda: self._commands.create(volume, size_bytes, block_bytes, reserve_bytes, properties), is_so
        )

    def ensure_clones(
        self, origins: Mapping[str, str], guids: Mapping[str, str], properties: Mapping[str, str]
    ) -> Tuple[str, ...]:
        """Create volumes as clones of snapshots, several at a time; returns those that were missing.

        `origins`: volume → its snapshot; `guids`: snapshot → its guid; full names. Those that are created have the
        user properties (`imgstore:…`) from the beginning. After an error some of the volumes
        may exist. They are read once before and, after a failure, once behind; other volumes are not.
        """
        check_properties(properties)
        for snapshot in origins.values():
            check_snapshot(snapshot)

        def missing() -> Tuple[str, ...]:
            facts = self.read_volumes(tuple(origins))
            for volume, snapshot in origins.items():
                if volume in facts and facts[volume].origin != snapshot:
                    raise IncoherentError(f"{volume} exists and is not a clone of {snapshot}")
            return tuple(volume for volume in origins if volume not in facts)

        made = missing()
        snapshots = tuple(dict.fromkeys(origins[volume] for volume in made))
        present = self.read_guids(snapshots)
        for snapshot in snapshots:
            found = present.get(snapshot)
            if found is None:
                raise StateError(
                    f"there is no snapshot {snapshot} to clone; it had the guid {guids[snapshot]}"
                )
            check_guid(snapshot, found, guids[snapshot])
        if made:
            lacking = {volume: origins[volume] for volume in made}
            settle(lambda: self._commands.clone_all(lacking, properties), lambda: not missing())
        return made

    def ensure_size(self, volume: str, guid: str, size_bytes: int) -> Change:
        """Grow a volume, also while it is in use. StateError when it is larger."""
        fact = self._known(volume, guid)
        if fact.size_bytes == size_bytes:
            return UNCHANGED
        check_size(volume, size_bytes, fact.block_bytes)
        if fact.size_bytes > size_bytes:
            raise StateError(f"{volume} has {fact.size_bytes} bytes and cannot shrink to {size_bytes}")
        return self._set(volume, {"volsize": str(size_bytes)})

    def ensure_reserved(self, volume: str, guid: str, reserve_bytes: int) -> Change:
        """Set `refreservation`. PoolFullError when the pool is too full."""
        if self._known(volume, guid).reserved_bytes == reserve_bytes:
            return UNCHANGED
        return self._set(volume, {"refreservation": str(reserve_bytes) if reserve_bytes else "none"})

    def ensure_properties(self, volume: str, guid: str, properties: Mapping[str, str]) -> Change:
        """Set user properties (`imgstore:…`) in one operation."""
        check_properties(properties)
        existing = dict(self._known(volume, guid).properties)
        changed = {key: value for key, value in properties.items() if existing.get(key) != value}
        return self._set(volume, changed) if changed else UNCHANGED

    def ensure_snapshots_visible(self, volume: str, guid: str) -> Change:
        """Create block devices of the volume's snapshots (`snapdev=visible`)."""
        self._known(volume, guid)
        return UNCHANGED if self._commands.shows_snapshots(volume) else self._set_snapdev(volume, "visible")

    def ensure_snapshots_hidden(self, volume: str, guid: str) -> Change:
        """Remove block devices of the volume's snapshots (`snapdev=hidden`)."""
        self._known(volume, guid)
        return self._set_snapdev(volume, "hidden") if self._commands.shows_snapshots(volume) else UNCHANGED

    def ensure_synchronous(self, volume: str, guid: str) -> Change:
        """Set `sync=always`."""
        return (
            UNCHANGED if self._known(volume, guid).is_synchronous else self._set(volume, {"sync": "always"})
        )

    def ensure_read_only(self, volume: str, guid: str) -> Change:
        """Set `readonly=on`: the volume's device takes no writes. Its clones do."""
        return UNCHANGED if self._known(volume, guid).is_read_only else self._set(volume, {"readonly": "on"})

    def ensure_renamed(self, volume: str, guid: str, new_name: str) -> Change:
        """Rename the volume within its pool; a missing parent file system is created."""
        check_volume(volume)
        check_volume(new_name)
        if volume.split("/")[0] != new_name.split("/")[0]:
            raise StateError(f"{volume} cannot be renamed to {new_name}, which is in another pool")

        def is_so() -> bool:
            there = self._commands.read_volume(new_name)
            if there is not None:
                check_guid(new_name, there.guid, guid)
            return there is not None

        if is_so():
            return UNCHANGED
        self._known(volume, guid)
        return settle(lambda: self._commands.rename(volume, new_name), is_so)

    def ensure_promoted(self, volume: str, guid: str) -> Change:
        """Promote a clone: it owns the shared snapshots, and its origin becomes the clone."""

        def is_so() -> bool:
            return self._known(volume, guid).origin is None

        return UNCHANGED if is_so() else settle(lambda: self._commands.promote(volume), is_so)

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

        Snapshots and volume are destroyed by two commands. The property `DOOMED` is set first, so that after a crash
        between them the repeated call knows that the volume has no unsaved data.
        """
        check_volume(volume)

        def is_so() -> bool:
            return self._commands.read_volume(volume) is None

        if is_so():
            return UNCHANGED
        self._commands.flush(volume)
        fact = self._known(volume, guid)
        history = self._commands.read_history(volume)
        fact = self._exactly_written(fact, history)
        check_volume_destroyable(fact, history, with_snapshots, may_lose_bytes)
        self._commands.check_not_open(volume)
        if history.newest is not None:
            self._commands.set_values(volume, {DOOMED: history.newest.guid})
            names = ",".join(snapshot.name for snapshot in history.snapshots)
            self._commands.destroy(f"{volume}@{names}")
        return settle(lambda: self._commands.destroy(volume), is_so)

    def _set(self, volume: str, values: Mapping[str, str]) -> Change:
        self._commands.set_values(volume, values)
        return CHANGED

    def _set_snapdev(self, volume: str, value: str) -> Change:
        return self._set(volume, {_SNAPSHOT_DEVICES: value})
