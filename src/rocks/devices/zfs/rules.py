"""What may be done with which volume, snapshot, bookmark or stream, from facts alone; pure."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from rocks.devices.zfs.facts import (
    BookmarkFact,
    History,
    ReceiveSpec,
    SendSpec,
    SnapshotFact,
    TokenFact,
    VolumeFact,
)
from rocks.errors import IncoherentError, StateError

DOOMED = "imgstore:doomed"
"""Set before the snapshots of a volume are destroyed with it: the guid of the newest, to which nothing was added."""


def known_volume(fact: Optional[VolumeFact], volume: str, guid: str) -> VolumeFact:
    """The volume, which is the one meant. StateError when it is missing."""
    if fact is None:
        raise StateError(f"there is no volume {volume}; it had the guid {guid}")
    check_guid(volume, fact.guid, guid)
    return fact


def known_snapshot(history: History, volume: str, name: str, guid: str) -> Optional[SnapshotFact]:
    """The snapshot, which is the one meant, or None when it is missing."""
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
    """The bookmark, which is the one meant, or None when it is missing."""
    bookmark = history.bookmark(name)
    if bookmark is not None:
        check_guid(f"{volume}#{name}", bookmark.guid, guid)
    return bookmark


def check_guid(what: str, found: str, expected: str) -> None:
    """IncoherentError unless the two are one."""
    if found != expected:
        raise IncoherentError(
            f"{what} is not the one that is meant: its guid is {found}, not {expected}; nothing was changed"
        )


def check_snapshot_destroyable(volume: str, snapshot: SnapshotFact) -> None:
    """StateError when something needs the snapshot."""
    name = f"{volume}@{snapshot.name}"
    if snapshot.holds:
        raise StateError(f"{name} is held by {', '.join(snapshot.holds)} and stays")
    if snapshot.clones:
        raise StateError(f"{name} is what {', '.join(snapshot.clones)} was made of, and stays with it")


def check_volume_destroyable(
    volume: VolumeFact,
    history: History,
    with_snapshots: Sequence[Tuple[str, str]],
    may_lose_bytes: Optional[int],
) -> None:
    """StateError when the volume cannot go with these snapshots, or has written more than may be lost."""
    listed = dict(with_snapshots)
    for snapshot in history.snapshots:
        if snapshot.name not in listed:
            raise StateError(
                f"{volume.name} has the snapshot {snapshot.name} (guid {snapshot.guid}), of which nobody said "
                "that it may go; nothing was destroyed"
            )
        check_guid(f"{volume.name}@{snapshot.name}", snapshot.guid, listed[snapshot.name])
        check_snapshot_destroyable(volume.name, snapshot)
    if may_lose_bytes is None or volume.written_bytes <= may_lose_bytes:
        return
    if history.newest is None and volume.property_value(DOOMED) in listed.values():
        return  # its snapshots went before; nothing had been written since
    since = f"since its snapshot {history.newest.name}" if history.newest else "and has no snapshot"
    raise StateError(
        f"{volume.name} has written {volume.written_bytes} bytes {since}, and at most {may_lose_bytes} may be lost"
    )


def check_rollback(volume: str, history: History, snapshot: SnapshotFact) -> None:
    """StateError unless nothing but what was written since goes with a rollback."""
    later = [f"@{other.name}" for other in history.snapshots if other.createtxg > snapshot.createtxg]
    later += [f"#{other.name}" for other in history.bookmarks if other.createtxg > snapshot.createtxg]
    if later:
        raise StateError(
            f"{volume} has {', '.join(later)} later than @{snapshot.name}, and is not rolled back"
        )


def check_send(spec: SendSpec, history: History, origin_guid: Optional[str]) -> None:
    """Refuse a stream whose ends are not what is meant; `origin_guid` is that of a start in another volume."""
    needed_snapshot(history, spec.volume, spec.to_name, spec.to_guid)
    if spec.from_bookmark is not None:
        if known_bookmark(history, spec.volume, spec.from_bookmark, spec.from_guid or "") is None:
            raise StateError(f"there is no bookmark {spec.volume}#{spec.from_bookmark} to send from")
    elif spec.from_snapshot is not None and "@" in spec.from_snapshot:
        if origin_guid is None:
            raise StateError(f"there is no snapshot {spec.from_snapshot} to send from")
        check_guid(spec.from_snapshot, origin_guid, spec.from_guid or "")
    elif spec.from_snapshot is not None:
        needed_snapshot(history, spec.volume, spec.from_snapshot, spec.from_guid or "")


def check_resumed_send(
    spec: SendSpec, token: TokenFact, history: History, origin_guid: Optional[str]
) -> None:
    """Refuse a token of another stream, or one whose snapshot or start is gone."""
    if (token.to_guid, token.from_guid) != (spec.to_guid, spec.from_guid):
        raise StateError(
            f"the resume token is for a stream from {token.from_guid or 'nothing'} to {token.to_guid}, not from "
            f"{spec.from_guid or 'nothing'} to {spec.to_guid}: forget what was received, and send anew"
        )
    needed_snapshot(history, spec.volume, spec.to_name, spec.to_guid)
    starts = {origin_guid, *(mark.guid for mark in history.bookmarks)}
    starts.update(snapshot.guid for snapshot in history.snapshots)
    if spec.from_guid is not None and spec.from_guid not in starts:
        raise StateError(
            f"{spec.volume} has no longer the snapshot or bookmark {spec.from_guid} from which the cut stream "
            "started: forget what was received, and send anew"
        )


def check_receive(spec: ReceiveSpec, fact: Optional[VolumeFact], history: History) -> None:
    """Refuse a stream that the volume cannot take without losing something."""
    token = fact.resume_token if fact is not None else None
    if spec.is_resumed:
        if token is None:
            raise StateError(f"{spec.volume} has nothing of a cut stream that could be resumed")
        return
    if token is not None:
        raise StateError(f"{spec.volume} has a part of a cut stream: resume that, or forget it")
    if fact is None:
        if spec.base_guid is not None and spec.origin is None:
            raise StateError(f"there is no volume {spec.volume} to which the stream could add")
        return
    if spec.base_guid is None or spec.origin is not None:
        raise StateError(f"{spec.volume} exists, and the stream is to make it")
    newest = history.newest
    if newest is None or newest.guid != spec.base_guid:
        found = f"its newest snapshot is {newest.name} with {newest.guid}" if newest else "it has no snapshot"
        raise IncoherentError(f"{spec.volume} is not at the guid {spec.base_guid}: {found}")
    if fact.written_bytes:
        raise IncoherentError(
            f"{spec.volume} has written {fact.written_bytes} bytes since its snapshot {newest.name}, "
            "which a stream would undo; nothing was changed"
        )
