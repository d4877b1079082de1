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
    refuse_other_guid(volume, fact.guid, guid)
    return fact


def known_snapshot(history: History, volume: str, name: str, guid: str) -> Optional[SnapshotFact]:
    """The snapshot, which is the one meant, or None when it is missing."""
    snapshot = history.snapshot(name)
    if snapshot is not None:
        refuse_other_guid(f"{volume}@{name}", snapshot.guid, guid)
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
        refuse_other_guid(f"{volume}#{name}", bookmark.guid, guid)
    return bookmark


def refuse_other_guid(what: str, found: str, wanted: str) -> None:
    """IncoherentError unless the two are one."""
    if found != wanted:
        raise IncoherentError(
            f"{what} is not the one that is meant: its guid is {found}, not {wanted}; nothing was changed"
        )


def refuse_snapshot_loss(volume: str, snapshot: SnapshotFact) -> None:
    """StateError when something needs the snapshot."""
    name = f"{volume}@{snapshot.name}"
    if snapshot.holds:
        raise StateError(f"{name} is held by {', '.join(snapshot.holds)} and stays")
    if snapshot.clones:
        raise StateError(f"{name} is what {', '.join(snapshot.clones)} was made of, and stays with it")


def refuse_volume_loss(
    volume: VolumeFact,
    history: History,
    with_snapshots: Sequence[Tuple[str, str]],
    may_lose_bytes: Optional[int],
) -> None:
    """StateError when the volume cannot go with these snapshots, or has written more than may be lost."""
    wanted = dict(with_snapshots)
    for snapshot in history.snapshots:
        if snapshot.name not in wanted:
            raise StateError(
                f"{volume.name} has the snapshot {snapshot.name} (guid {snapshot.guid}), of which nobody said "
                "that it may go; nothing was destroyed"
            )
        refuse_other_guid(f"{volume.name}@{snapshot.name}", snapshot.guid, wanted[snapshot.name])
        refuse_snapshot_loss(volume.name, snapshot)
    if may_lose_bytes is None or volume.written_bytes <= may_lose_bytes:
        return
    if history.newest is None and volume.property_value(DOOMED) in wanted.values():
        return  # its snapshots went before; nothing had been written since
    since = f"since its snapshot {history.newest.name}" if history.newest else "and has no snapshot"
    raise StateError(
        f"{volume.name} has written {volume.written_bytes} bytes {since}, and at most {may_lose_bytes} may be lost"
    )


def refuse_rollback(volume: str, history: History, snapshot: SnapshotFact) -> None:
    """StateError unless nothing but what was written since goes with a rollback."""
    later = [f"@{other.name}" for other in history.snapshots if other.createtxg > snapshot.createtxg]
    later += [f"#{other.name}" for other in history.bookmarks if other.createtxg > snapshot.createtxg]
    if later:
        raise StateError(
            f"{volume} has {', '.join(later)} later than @{snapshot.name}, and is not rolled back"
        )


def check_send(wanted: SendSpec, history: History, origin_guid: Optional[str]) -> None:
    """Refuse a stream whose ends are not what is meant; `origin_guid` is that of a start in another volume."""
    needed_snapshot(history, wanted.volume, wanted.to_name, wanted.to_guid)
    if wanted.from_bookmark is not None:
        if known_bookmark(history, wanted.volume, wanted.from_bookmark, wanted.from_guid or "") is None:
            raise StateError(f"there is no bookmark {wanted.volume}#{wanted.from_bookmark} to send from")
    elif wanted.from_snapshot is not None and "@" in wanted.from_snapshot:
        if origin_guid is None:
            raise StateError(f"there is no snapshot {wanted.from_snapshot} to send from")
        refuse_other_guid(wanted.from_snapshot, origin_guid, wanted.from_guid or "")
    elif wanted.from_snapshot is not None:
        needed_snapshot(history, wanted.volume, wanted.from_snapshot, wanted.from_guid or "")


def check_resumed_send(
    wanted: SendSpec, token: TokenFact, history: History, origin_guid: Optional[str]
) -> None:
    """Refuse a token of another stream, or one whose snapshot or start is gone."""
    if (token.to_guid, token.from_guid) != (wanted.to_guid, wanted.from_guid):
        raise StateError(
            f"the resume token is for a stream from {token.from_guid or 'nothing'} to {token.to_guid}, not from "
            f"{wanted.from_guid or 'nothing'} to {wanted.to_guid}: forget what was received, and send anew"
        )
    needed_snapshot(history, wanted.volume, wanted.to_name, wanted.to_guid)
    starts = {origin_guid, *(mark.guid for mark in history.bookmarks)}
    starts.update(snapshot.guid for snapshot in history.snapshots)
    if wanted.from_guid is not None and wanted.from_guid not in starts:
        raise StateError(
            f"{wanted.volume} has no longer the snapshot or bookmark {wanted.from_guid} from which the cut stream "
            "started: forget what was received, and send anew"
        )


def check_receive(wanted: ReceiveSpec, fact: Optional[VolumeFact], history: History) -> None:
    """Refuse a stream that the volume cannot take without losing something."""
    token = fact.resume_token if fact is not None else None
    if wanted.is_resumed:
        if token is None:
            raise StateError(f"{wanted.volume} has nothing of a cut stream that could be resumed")
        return
    if token is not None:
        raise StateError(f"{wanted.volume} has a part of a cut stream: resume that, or forget it")
    if fact is None:
        if wanted.base_guid is not None and wanted.origin is None:
            raise StateError(f"there is no volume {wanted.volume} to which the stream could add")
        return
    if wanted.base_guid is None or wanted.origin is not None:
        raise StateError(f"{wanted.volume} exists, and the stream is to make it")
    newest = history.newest
    if newest is None or newest.guid != wanted.base_guid:
        found = f"its newest snapshot is {newest.name} with {newest.guid}" if newest else "it has no snapshot"
        raise IncoherentError(f"{wanted.volume} is not at the guid {wanted.base_guid}: {found}")
    if fact.written_bytes:
        raise IncoherentError(
            f"{wanted.volume} has written {fact.written_bytes} bytes since its snapshot {newest.name}, "
            "which a stream would undo; nothing was changed"
        )
