"""Operations on ZFS: volumes, snapshots, bookmarks and streams, each checked before it acts.

They act by `ZfsCommands`: in `tool.py` by the programs `zfs` and `zpool`, in `tests/fakes` in memory.
"""

from __future__ import annotations

import io
import struct
from types import MappingProxyType
from typing import IO, Any, Callable, Mapping, NamedTuple, NoReturn, Optional, Sequence, Tuple, cast

from rocks.core.clock import Deadline
from rocks.core.errors import IncoherentError, RocksError, StateError, UserError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.zfs.facts import (
    BookmarkFact,
    History,
    PoolFact,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
    check_dataset,
    check_part,
    check_properties,
    check_size,
    check_snapshot,
    check_token,
    check_volume,
)
from rocks.storage.zfs.tool import Transfer, ZfsCommands

DOOMED = "imgstore:doomed"
"""Set before a volume is destroyed with its snapshots: the guid of the newest, since which nothing was written."""


def known_volume(fact: Optional[VolumeFact], volume: str, guid: str) -> VolumeFact:
    """The volume with that guid. StateError when it is missing, IncoherentError for another guid."""
    if fact is None:
        raise StateError(f"there is no volume {volume}; it had the guid {guid}")
    check_guid(volume, fact.guid, guid)
    return fact


def known_snapshot(history: History, volume: str, name: str, guid: str) -> Optional[SnapshotFact]:
    """The snapshot with that guid, or None. IncoherentError for another guid."""
    snapshot = history.snapshot(name)
    if snapshot is not None:
        check_guid(f"{volume}@{name}", snapshot.guid, guid)
    return snapshot


def needed_snapshot(history: History, volume: str, name: str, guid: str) -> SnapshotFact:
    """As `known_snapshot`, StateError when it is missing."""
    snapshot = known_snapshot(history, volume, name, guid)
    if snapshot is None:
        raise StateError(f"there is no snapshot {volume}@{name}; it had the guid {guid}")
    return snapshot


def known_bookmark(history: History, volume: str, name: str, guid: str) -> Optional[BookmarkFact]:
    """The bookmark with that guid, or None. IncoherentError for another guid."""
    bookmark = history.bookmark(name)
    if bookmark is not None:
        check_guid(f"{volume}#{name}", bookmark.guid, guid)
    return bookmark


def check_guid(what: str, found: str, expected: str) -> None:
    """IncoherentError unless the guids are equal."""
    if found != expected:
        raise IncoherentError(f"{what} has the guid {found}, not {expected}; nothing was changed")


def check_snapshot_destroyable(volume: str, snapshot: SnapshotFact) -> None:
    """StateError when the snapshot has holds or clones."""
    name = f"{volume}@{snapshot.name}"
    if snapshot.holds:
        raise StateError(f"{name} is held by {', '.join(snapshot.holds)}")
    if snapshot.clones:
        raise StateError(f"{name} is the origin of {', '.join(snapshot.clones)}")


def check_volume_destroyable(
    volume: VolumeFact,
    history: History,
    with_snapshots: Sequence[Tuple[str, str]],
    may_lose_bytes: Optional[int],
) -> None:
    """StateError when the volume has other snapshots, or more data was written than may be lost."""
    listed = dict(with_snapshots)
    for snapshot in history.snapshots:
        if snapshot.name not in listed:
            raise StateError(
                f"{volume.name} has the snapshot {snapshot.name} (guid {snapshot.guid}), which the request does not "
                "list; nothing was destroyed"
            )
        check_guid(f"{volume.name}@{snapshot.name}", snapshot.guid, listed[snapshot.name])
        check_snapshot_destroyable(volume.name, snapshot)
    if may_lose_bytes is None or volume.written_bytes <= may_lose_bytes:
        return
    if history.newest is None and volume.property_value(DOOMED) in listed.values():
        return  # its snapshots were destroyed before; nothing was written since
    since = f"since its snapshot {history.newest.name}" if history.newest else "and has no snapshot"
    raise StateError(
        f"{volume.name} has written {volume.written_bytes} bytes {since}, and at most {may_lose_bytes} may be lost"
    )


def check_rollback(volume: str, history: History, snapshot: SnapshotFact) -> None:
    """StateError when a rollback would destroy later snapshots or bookmarks."""
    later = [f"@{other.name}" for other in history.snapshots if other.createtxg > snapshot.createtxg]
    later += [f"#{other.name}" for other in history.bookmarks if other.createtxg > snapshot.createtxg]
    if later:
        raise StateError(
            f"{volume} has {', '.join(later)} later than @{snapshot.name}; it was not rolled back"
        )


def check_send(spec: SendSpec, history: History) -> None:
    """StateError or IncoherentError unless source and target exist."""
    needed_snapshot(history, spec.volume, spec.to_name, spec.to_guid)
    if spec.from_bookmark is not None:
        if known_bookmark(history, spec.volume, spec.from_bookmark, spec.from_guid or "") is None:
            raise StateError(f"there is no bookmark {spec.volume}#{spec.from_bookmark} to send from")
    elif spec.from_snapshot is not None:
        needed_snapshot(history, spec.volume, spec.from_snapshot, spec.from_guid or "")


def check_resumed_send(spec: SendSpec, token: TokenFact, history: History) -> None:
    """StateError for a token of another stream, or when its target or source is missing."""
    if (token.to_guid, token.from_guid) != (spec.to_guid, spec.from_guid):
        raise StateError(
            f"the resume token is for a stream from {token.from_guid or 'nothing'} to {token.to_guid}, not from "
            f"{spec.from_guid or 'nothing'} to {spec.to_guid}; discard the partial receive and send again"
        )
    needed_snapshot(history, spec.volume, spec.to_name, spec.to_guid)
    starts = {snapshot.guid for snapshot in history.snapshots}
    starts.update(bookmark.guid for bookmark in history.bookmarks)
    if spec.from_guid is not None and spec.from_guid not in starts:
        raise StateError(
            f"{spec.volume} no longer has the snapshot or bookmark {spec.from_guid} that is the source of the "
            "interrupted stream; discard the partial receive and send again"
        )


def check_receive(spec: ReceiveSpec, fact: Optional[VolumeFact], history: History) -> None:
    """StateError or IncoherentError when the volume cannot receive the stream without losing data."""
    token = fact.resume_token if fact is not None else None
    if spec.is_resumed:
        if token is None:
            raise StateError(f"{spec.volume} has no partial receive to resume")
        return
    if token is not None:
        raise StateError(f"{spec.volume} has a partial receive: resume or discard it")
    if fact is None:
        if spec.base_guid is not None:
            raise StateError(f"there is no volume {spec.volume} for the incremental stream")
        return
    if spec.base_guid is None:
        raise StateError(f"{spec.volume} exists, but the stream would create it")
    newest = history.newest
    if newest is None or newest.guid != spec.base_guid:
        found = f"its newest snapshot is {newest.name} with {newest.guid}" if newest else "it has no snapshot"
        raise IncoherentError(f"{spec.volume} is not at the guid {spec.base_guid}: {found}")
    if fact.written_bytes:
        raise IncoherentError(
            f"{spec.volume} has written {fact.written_bytes} bytes since its snapshot {newest.name}, "
            "which a receive would roll back; nothing was changed"
        )


# --- reading: the base class of the operations -----------------------------------------------------------------------


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
        """The volumes that exist, by name, all at once. StateError when a file system has one of the names."""
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


# --- volumes: create, clone, grow, rename, promote, destroy; each compares first and then runs one `zfs` command -----


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


# --- snapshots, holds, bookmarks and rollback ------------------------------------------------------------------------


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


# --- the first record of a stream, from which `zfs receive` decides what it creates ----------------------------------
# Layout and values: `dmu_replay_record` in OpenZFS' `zfs_ioctl.h`. The numbers are in the byte order of the sender.


FIELDS = "IIQQQIIQQ256s"
"""Record type, length of the payload, magic number, version, creation time, type of the object set, flags, guid of the
snapshot, guid of the incremental source, full name of the snapshot."""

BEGIN_BYTES = struct.calcsize(f"<{FIELDS}")
MAGIC = 0x2F5BACBAC
BEGIN, ONE_SNAPSHOT, VOLUME = 0, 1, 3
"""The type of the record; in the version, the kind of the stream; the type of the object set."""

_KIND_BITS = 3
_MAGIC_AT = 8
_OBJECT_SETS = {1: "the pool's own objects", 2: "a file system"}


class BeginRecord(NamedTuple):
    """Kind of a stream, type of its object set, guid of its incremental source, full name of its snapshot."""

    kind: int
    object_set: int
    from_guid: Optional[str]
    to_name: str


def read_begin(data: bytes) -> Optional[BeginRecord]:
    """The record in the first BEGIN_BYTES of a stream; None when it is no ZFS stream."""
    for order in "<>":
        (magic,) = struct.unpack_from(f"{order}Q", data, _MAGIC_AT)
        if magic == MAGIC:
            record, _, _, version, _, object_set, _, _, from_guid, name = struct.unpack_from(
                f"{order}{FIELDS}", data
            )
            if record != BEGIN:
                return None
            to_name = name.partition(b"\0")[0].decode("utf-8", "replace")
            return BeginRecord(
                version & _KIND_BITS, object_set, str(from_guid) if from_guid else None, to_name
            )
    return None


def check_begin(data: bytes, spec: ReceiveSpec) -> None:
    """IncoherentError, which names the sender, unless the stream is of one snapshot of a volume, as specified.

    `zfs receive` itself would create a file system, or the datasets of a package (`zfs send -R`), or a clone of any
    snapshot of the pool.
    """
    begin = read_begin(data)
    if begin is None:
        _reject(spec, "what is no ZFS stream")
    if begin.kind != ONE_SNAPSHOT:
        _reject(spec, "a package of streams (`zfs send -R`)")
    if begin.object_set != VOLUME:
        _reject(spec, f"a stream of {_OBJECT_SETS.get(begin.object_set, f'type {begin.object_set}')}")
    if not spec.is_resumed and begin.from_guid != spec.base_guid:
        _reject(spec, f"a stream from {_named(begin.from_guid)} instead of {_named(spec.base_guid)}")
    try:
        check_part(begin.to_name.partition("@")[2])
    except UserError:
        _reject(spec, f"a snapshot of the name {begin.to_name[:80]!r}")


def _named(guid: Optional[str]) -> str:
    return f"the snapshot {guid}" if guid else "nothing"


def _reject(spec: ReceiveSpec, what: str) -> NoReturn:
    raise IncoherentError(
        f"{spec.sender} sent {what} for {spec.volume}, where one snapshot of a volume is expected; nothing of it was "
        "received"
    )


# --- streams between pools: checks before a send or receive; the beginning of a received stream is checked, too ------


class StreamOperations(PoolReading):
    """The methods of `PoolDriver` on streams, by `ZfsCommands`."""

    def decode_token(self, token: str) -> TokenFact:
        """The contents of a resume token. StateError when it is invalid."""
        check_token(token)
        return self._commands.decode_token(token)

    def estimate_send(self, spec: SendSpec) -> int:
        """Estimated size of the stream in bytes."""
        self._check_send(spec)
        return self._commands.estimate(spec)

    def start_send(self, spec: SendSpec) -> Transfer:
        """Start a send. StateError when its source or incremental source is missing.

        A resumed send looks for its source by guid, first below the volume and then beside it. There OpenZFS 2.1 may
        find a snapshot of another volume with the same guid, and `finish` fails with "Invalid cross-device link": then
        discard the partial receive and send again.
        """
        self._check_send(spec)
        return self._commands.send(spec)

    def start_receive(self, spec: ReceiveSpec) -> Transfer:
        """Start a receive. IncoherentError when the newest snapshot of the volume is not the incremental source.

        StateError when the volume exists and must not, is missing, or has a partial receive. A receive never rolls the
        volume back. The write that completes the stream's first record (312 bytes) raises IncoherentError unless the
        stream is of one snapshot of a volume and has the specified source; nothing is received then.
        """
        check_volume(spec.volume)
        self._commands.flush(spec.volume)
        fact = self._commands.read_volume(spec.volume)
        history = self._commands.read_history(spec.volume)
        check_receive(spec, fact and self._exactly_written(fact, history), history)
        return CheckedReceive(self._commands.receive(spec), lambda begin: check_begin(begin, spec))

    def ensure_partial_gone(self, volume: str) -> Change:
        """Discard a partial receive; a volume without a complete stream is destroyed."""
        check_volume(volume)

        def is_so() -> bool:
            fact = self._commands.read_volume(volume)
            return fact is None or fact.resume_token is None

        return UNCHANGED if is_so() else settle(lambda: self._commands.abort_receive(volume), is_so)

    def _check_send(self, spec: SendSpec) -> None:
        check_volume(spec.volume)
        check_part(spec.to_name)
        history = self._commands.read_history(spec.volume)
        if spec.resume_token is None:
            check_send(spec, history)
        else:
            check_resumed_send(spec, self.decode_token(spec.resume_token), history)


class CheckedReceive:
    """A `Transfer` before another one. After a rejected record the other one has got nothing, and creates nothing."""

    def __init__(self, receive: Transfer, check: Callable[[bytes], None]) -> None:
        """`check` gets the first BEGIN_BYTES; its error is raised by the write that completes them, and by `finish`."""
        self._receive = receive
        self._input = _CheckedInput(receive.stream, check)
        self.stream = cast("IO[bytes]", self._input)

    def finish(self, deadline: Deadline) -> None:
        if self._input.error is not None:
            self._receive.kill()
            raise self._input.error
        self._receive.finish(deadline)

    def kill(self) -> None:
        self._receive.kill()
        self.stream.close()


class _CheckedInput(io.RawIOBase):
    def __init__(self, target: IO[bytes], check: Callable[[bytes], None]) -> None:
        super().__init__()
        self._target = target
        self._check = check
        self._begin: Optional[bytes] = b""
        self.error: Optional[RocksError] = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.error is not None:
            raise BrokenPipeError("the stream was rejected")
        if self._begin is None:
            return self._target.write(data)
        self._begin += bytes(data)
        if len(self._begin) >= BEGIN_BYTES:
            try:
                self._check(self._begin[:BEGIN_BYTES])
            except RocksError as error:
                self.error = error
                raise
            self._target.write(self._begin)
            self._begin = None
        return len(data)

    def close(self) -> None:
        super().close()
        self._target.close()


class PoolDriver(VolumeOperations, SnapshotOperations, StreamOperations):
    """Pools of a host. Every method raises StateError when the pool is missing: a lost pool is not an empty pool.

    Volumes are specified by full name (`tank/vm-vc1-0-vol`), snapshots and bookmarks of a volume by the part after `@`
    or `#`. Methods with a guid raise IncoherentError when the dataset of that name has another guid, and change
    nothing. Every `ensure_` method is idempotent and tolerates a concurrent call with the same effect. Any thread may
    use it.
    """
