"""Preconditions of operations on volumes, snapshots, bookmarks and streams; pure."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from rocks.core.errors import IncoherentError, StateError
from rocks.storage.zfs.facts import (
    BookmarkFact,
    History,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
)

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
