"""Records of ZFS: pools, volumes, snapshots, bookmarks, and specs of streams.

A guid is decimal text (an unsigned number of 64 bits, too large for an SQL integer). A snapshot keeps its guid when it
is sent; a bookmark has the guid of its snapshot; a volume's guid is unique to its pool. `createtxg` orders the
snapshots of one pool only.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple


class PoolFact(NamedTuple):
    """A pool: total and free bytes for data (without slop and parity), and the health that `zpool` reports."""

    name: str
    size_bytes: int
    free_bytes: int
    health: str


class VolumeFact(NamedTuple):
    """A volume by full name.

    `written_bytes`: since the newest snapshot, as of the last synced transaction group; after a rollback it may be a
    few KiB too large, so use `written_since` to test for writes. `origin`: full name of the snapshot it is a clone of.
    `resume_token`: of a partial receive; if that is the volume's first stream, its size is 0. `properties`: local
    `imgstore:` properties, sorted. `referenced_bytes`: space of the current content in the pool, on RAIDZ more than was
    written. `is_synchronous`: `sync=always`. `is_read_only`: `readonly=on`.
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
    is_read_only: bool = False

    def property_value(self, key: str) -> Optional[str]:
        """The value of a property of ours, by its full name; None when it is not set."""
        return dict(self.properties).get(key)


class SnapshotFact(NamedTuple):
    """A snapshot by the part after `@`; clones by full name; `written_bytes` since the previous snapshot."""

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
    """A bookmark by the part after `#`; a possible incremental source, but not a target of a rollback."""

    name: str
    guid: str
    createtxg: int


class History(NamedTuple):
    """Snapshots and bookmarks of a volume, oldest first."""

    snapshots: Tuple[SnapshotFact, ...] = ()
    bookmarks: Tuple[BookmarkFact, ...] = ()

    @property
    def newest(self) -> Optional[SnapshotFact]:
        """The newest snapshot."""
        return self.snapshots[-1] if self.snapshots else None

    def snapshot(self, name: str) -> Optional[SnapshotFact]:
        """The snapshot of that name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def of_guid(self, guid: str) -> Optional[SnapshotFact]:
        """The snapshot of that guid."""
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None)

    def bookmark(self, name: str) -> Optional[BookmarkFact]:
        """The bookmark of that name."""
        return next((bookmark for bookmark in self.bookmarks if bookmark.name == name), None)


class SendSpec(NamedTuple):
    """A stream that ends at the snapshot `to_name` of `volume`.

    The stream is full, or incremental from a snapshot or a bookmark of the volume; `from_guid` is the guid of that
    source. `resume_token` continues an interrupted stream.
    """

    volume: str
    to_name: str
    to_guid: str
    from_snapshot: Optional[str] = None
    from_bookmark: Optional[str] = None
    from_guid: Optional[str] = None
    resume_token: Optional[str] = None


class ReceiveSpec(NamedTuple):
    """A stream received into `volume`; a missing parent file system is created.

    `base_guid`: guid of the incremental source, which is the newest snapshot of the volume. None: the stream creates
    the volume. `is_resumed`: the stream continues a partial receive. `sender`: who sends it, for errors.
    """

    volume: str
    base_guid: Optional[str] = None
    is_resumed: bool = False
    sender: str = "the sender"


class TokenFact(NamedTuple):
    """Contents of a resume token: a stream to the snapshot `to_name` (full name on the sender)."""

    to_guid: str
    from_guid: Optional[str]
    to_name: str
    bytes_done: int
