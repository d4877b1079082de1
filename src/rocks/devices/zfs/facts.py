"""What a ZFS pool holds, as records: volumes, their snapshots and bookmarks, and what a stream of them is to carry.

A guid is ZFS's own number as decimal text (64 bits without a sign: too large for an SQL integer). A snapshot keeps its
guid wherever it is sent; a bookmark has the guid of the snapshot that it was made of; a volume's guid is its pool's.
`createtxg` orders what one pool holds, and says nothing about another pool.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple


class PoolFact(NamedTuple):
    """A pool: what data can take in all and what is left of that, slop and parity taken off; `zpool`'s health word."""

    name: str
    size_bytes: int
    free_bytes: int
    health: str


class VolumeFact(NamedTuple):
    """A volume by its whole name.

    `written_bytes` is since the newest snapshot, as of the last transaction group that reached the disks, and may be
    a few KiB too many after a rollback: whether anything was written is asked of `written_since`. `origin` is the
    snapshot of which it is a clone, by whole name. With `resume_token` a receive into it was cut; when that was to be
    the volume's first stream, it has size 0 as yet. `properties` are those of `imgstore:` that are set on it, sorted.
    `referenced_bytes` are those of the pool that its present content takes, which on RAIDZ are more than were written.
    With `is_synchronous` each write is on the disks before it is answered.
    """

    name: str
    guid: str
    size_bytes: int
    block_bytes: int
    used_bytes: int
    written_bytes: int
    reserved_bytes: int = 0
    origin: Optional[str] = None
    resume_token: Optional[str] = None
    properties: Tuple[Tuple[str, str], ...] = ()
    referenced_bytes: int = 0
    is_synchronous: bool = False

    def property_value(self, key: str) -> Optional[str]:
        """The value of a property of ours, by its whole name; None when it is not set."""
        return dict(self.properties).get(key)


class SnapshotFact(NamedTuple):
    """A snapshot by what follows the `@`; clones by their whole names; `written_bytes` since the snapshot before."""

    name: str
    guid: str
    createtxg: int
    created_seconds: int
    referenced_bytes: int
    written_bytes: int
    holds: Tuple[str, ...] = ()
    clones: Tuple[str, ...] = ()
    is_automatic: bool = False


class BookmarkFact(NamedTuple):
    """A bookmark by what follows the `#`; a stream can start from it, but not be undone to it."""

    name: str
    guid: str
    createtxg: int


class History(NamedTuple):
    """The past of a volume, oldest first."""

    snapshots: Tuple[SnapshotFact, ...] = ()
    bookmarks: Tuple[BookmarkFact, ...] = ()

    @property
    def newest(self) -> Optional[SnapshotFact]:
        """The newest snapshot."""
        return self.snapshots[-1] if self.snapshots else None

    def snapshot(self, name: str) -> Optional[SnapshotFact]:
        """The snapshot of that name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def bookmark(self, name: str) -> Optional[BookmarkFact]:
        """The bookmark of that name."""
        return next((bookmark for bookmark in self.bookmarks if bookmark.name == name), None)


class SendSpec(NamedTuple):
    """A stream that ends at the snapshot `to_name` of `volume`.

    It starts from nothing, from a snapshot (one of the volume, or by whole name the one it was cloned from) or from a
    bookmark of the volume, whose guid is `from_guid`; or, with `resume_token`, where an earlier one was cut.
    """

    volume: str
    to_name: str
    to_guid: str
    from_snapshot: Optional[str] = None
    from_bookmark: Optional[str] = None
    from_guid: Optional[str] = None
    resume_token: Optional[str] = None


class ReceiveSpec(NamedTuple):
    """A stream taken into `volume`; the file system above is made when it is missing.

    `base_guid` is the guid of the snapshot that the stream starts from: the newest one of the volume, or, for a volume
    that is to be made as a clone, that of `origin` (whole name). None: the volume is made by the stream. With
    `is_resumed` the stream goes on with what an earlier one left. With `resumable` False nothing stays of a cut stream.
    """

    volume: str
    base_guid: Optional[str] = None
    origin: Optional[str] = None
    is_resumed: bool = False
    resumable: bool = True


class TokenFact(NamedTuple):
    """What a resume token stands for: a stream to the snapshot `to_name` (whole name on the sender)."""

    to_guid: str
    from_guid: Optional[str]
    to_name: str
    bytes_done: int
