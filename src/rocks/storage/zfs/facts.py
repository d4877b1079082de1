"""Names and records of ZFS (pools, volumes, snapshots, bookmarks, streams), and the parsers of its output; pure.

A guid is decimal text (an unsigned number of 64 bits, too large for an SQL integer). A snapshot keeps its guid when it
is sent; a bookmark has the guid of its snapshot; a volume's guid is unique to its pool. `createtxg` orders the
snapshots of one pool only.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from rocks.core.errors import StateError, ToolError, UserError

OUR_PREFIX = "imgstore:"
AUTOMATIC = OUR_PREFIX + "auto"
AUTOMATIC_PROPERTY = {AUTOMATIC: "on"}
"""Of snapshots that the system creates: only these are ever destroyed by retention."""

MAX_NAME_CHARACTERS = 255
_PART = re.compile(r"(?!\.+\Z)[A-Za-z0-9.][A-Za-z0-9_.:-]{0,200}\Z")
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,200}\Z")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")
_KEY = re.compile(r"imgstore:[a-z0-9_.-]{1,100}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,4096}\Z")
_MAX_VALUE_BYTES = 1024


def check_dataset(name: str) -> None:
    """UserError unless `name` is valid for a pool or a dataset in it."""
    pool, *parts = name.split("/")
    if len(name) > MAX_NAME_CHARACTERS or not _POOL.match(pool) or not all(map(_PART.match, parts)):
        raise UserError(
            f"{name[:80]!r} is not a valid ZFS dataset name: letters, digits, '_', '-', ':' and '.'"
        )


def check_volume(name: str) -> None:
    """UserError unless `name` is valid for a volume in a pool."""
    check_dataset(name)
    if "/" not in name:
        raise UserError(f"{name!r} is the name of a pool; a volume's is POOL/NAME")


def check_part(name: str) -> None:
    """UserError unless `name` is valid after the `@` of a snapshot, the `#` of a bookmark, or as the tag of a hold."""
    if not _TAG.match(name):
        raise UserError(
            f"{name[:80]!r} is not a valid name of a snapshot, bookmark or hold: letters, digits and '_.:-'"
        )


def check_snapshot(name: str) -> None:
    """UserError unless `name` is a valid full name of a snapshot."""
    volume, _, part = name.partition("@")
    check_volume(volume)
    check_part(part)


def check_token(token: str) -> None:
    """UserError unless `token` has the format of a resume token."""
    if not _TOKEN.match(token):
        raise UserError("a resume token consists of letters, digits and +/=_-")


def check_properties(properties: Mapping[str, str], of_snapshot: bool = False) -> None:
    """UserError unless these are valid `imgstore:` properties.

    Snapshots inherit the properties of their volume, so a volume never has the one that marks automatic snapshots.
    """
    for key, value in properties.items():
        if not _KEY.match(key) or (key == AUTOMATIC and not of_snapshot):
            raise UserError(f"{key[:80]!r} is not a property that the system sets on a volume")
        if len(value.encode()) > _MAX_VALUE_BYTES or not value.isprintable() or value in ("", "-"):
            raise UserError(f"{value[:80]!r} is not a valid value of the property {key}")


def check_size(volume: str, size_bytes: int, block_bytes: int) -> None:
    """UserError unless the block size is valid and divides the size."""
    if not (512 <= block_bytes <= 131072 and block_bytes & (block_bytes - 1) == 0):
        raise UserError(f"{block_bytes} is not a valid volblocksize: a power of two from 512 to 131072")
    if size_bytes <= 0 or size_bytes % block_bytes:
        raise UserError(
            f"{volume} cannot have {size_bytes} bytes: not a multiple of its volblocksize {block_bytes}"
        )


# --- records: pools, volumes, snapshots, bookmarks, and specs of streams -------------------------------------------


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


# --- parsers of the output of `zfs -H -p`, tested with OpenZFS 2.1 -------------------------------------------------


VALUE_COLUMNS = "name,property,value,source"
"""Columns of `zfs get` for `parse_volumes`."""

HISTORY_COLUMNS = f"name,guid,createtxg,creation,referenced,written,userrefs,clones,{AUTOMATIC}"
"""Columns of `zfs list` for `parse_history`."""

_OWN_SOURCES = ("local", "received")
_TOKEN_LINE = re.compile(r"\s*(\w+) = (\S.*)")
_SIZE_LINE = re.compile(r"^size\t(\d+)$", re.MULTILINE)


def parse_values(text: str) -> Dict[str, Dict[str, str]]:
    """Properties by dataset, without inherited `imgstore:` properties (`zfs get -o name,property,value,source`)."""
    datasets: Dict[str, Dict[str, str]] = {}
    for name, key, value, source in _rows(text, 4):
        values = datasets.setdefault(name, {})
        if not key.startswith(OUR_PREFIX) or source in _OWN_SOURCES:
            values[key] = value
    return datasets


def parse_volumes(text: str) -> Tuple[VolumeFact, ...]:
    """The volumes of a `zfs get all`, by name, without file systems."""
    volumes = [
        volume_of(name, values)
        for name, values in parse_values(text).items()
        if values.get("type") == "volume"
    ]
    return tuple(sorted(volumes))


def volume_of(name: str, values: Mapping[str, str]) -> VolumeFact:
    """A volume from its properties; during an interrupted first receive it has no size."""
    return VolumeFact(
        name,
        values["guid"],
        size_bytes=_number(values.get("volsize")),
        block_bytes=_number(values.get("volblocksize")),
        used_bytes=_number(values.get("used")),
        written_bytes=_number(values.get("written")),
        reserved_bytes=_number(values.get("refreservation")),
        origin=_optional(values.get("origin")),
        resume_token=_optional(values.get("receive_resume_token")),
        properties=own_properties(values),
        referenced_bytes=_number(values.get("referenced")),
        is_synchronous=values.get("sync") == "always",
        is_read_only=values.get("readonly") == "on",
    )


def own_properties(values: Mapping[str, str]) -> Tuple[Tuple[str, str], ...]:
    """The `imgstore:` properties, sorted."""
    return tuple(sorted((key, value) for key, value in values.items() if key.startswith(OUR_PREFIX)))


def parse_history(text: str, holds: Mapping[str, Tuple[str, ...]]) -> History:
    """Snapshots and bookmarks of one volume; `holds` by full snapshot name (`parse_holds`)."""
    snapshots: List[SnapshotFact] = []
    bookmarks: List[BookmarkFact] = []
    for name, guid, txg, created, referenced, written, _, clones, automatic in _rows(text, 9):
        if "#" in name:
            bookmarks.append(BookmarkFact(name.partition("#")[2], guid, int(txg)))
            continue
        snapshots.append(
            SnapshotFact(
                name.partition("@")[2],
                guid,
                int(txg),
                int(created),
                _number(referenced),
                _number(written),
                holds.get(name, ()),
                tuple(sorted(clone for clone in clones.split(",") if clone not in ("", "-"))),
                automatic == "on",
            )
        )
    snapshots.sort(key=lambda snapshot: snapshot.createtxg)
    bookmarks.sort(key=lambda bookmark: (bookmark.createtxg, bookmark.name))
    return History(tuple(snapshots), tuple(bookmarks))


def held_names(text: str) -> Tuple[str, ...]:
    """Full names of the snapshots with holds, from the same listing."""
    return tuple(row[0] for row in _rows(text, 9) if "@" in row[0] and _number(row[6]) > 0)


def parse_holds(text: str) -> Dict[str, Tuple[str, ...]]:
    """Tags by full snapshot name, sorted (`zfs holds -H`)."""
    holds: Dict[str, List[str]] = {}
    for name, tag, _ in _rows(text, 3):
        holds.setdefault(name, []).append(tag)
    return {name: tuple(sorted(tags)) for name, tags in holds.items()}


def parse_token(text: str, message: str) -> TokenFact:
    """A resume token, from `zfs send -n -v -t`, which prints the contents even when it then fails with `message`.

    StateError when the token is invalid, or has a field twice: another machine wrote it, and a name in it can contain
    lines that look like fields.
    """
    fields: Dict[str, str] = {}
    for match in filter(None, map(_TOKEN_LINE.fullmatch, text.splitlines())):
        if fields.setdefault(match.group(1), match.group(2)) != match.group(2):
            raise StateError(
                f"the resume token is invalid: it has the field {match.group(1)} twice; discard the partial receive "
                "and send again"
            )
    try:
        start = fields.get("fromguid")
        return TokenFact(
            to_guid=str(int(fields["toguid"], 16)),
            from_guid=None if start is None else str(int(start, 16)),
            to_name=fields["toname"],
            bytes_done=int(fields["bytes"], 16),
        )
    except (KeyError, ValueError):
        raise StateError(
            f"the resume token is invalid: {message or 'it is empty'}; discard the partial receive and send again"
        ) from None


def parse_estimate(text: str) -> int:
    """Bytes of a stream, from `zfs send -n -P`; 0 for a negative number, which it prints as one near 2^64.

    For the rest of a stream it subtracts what was sent from an estimate, which may be less.
    """
    match = _SIZE_LINE.search(text)
    if match is None:
        raise ToolError(f"zfs send -n printed no size: {text.strip()[:200]!r}")
    size_bytes = int(match.group(1))
    return size_bytes if size_bytes < 2**63 else 0


def _rows(text: str, columns: int) -> Iterator[List[str]]:
    for line in text.splitlines():
        row = line.split("\t")
        if len(row) != columns:
            raise ToolError(f"zfs printed a line that is no row of {columns} columns: {line[:200]!r}")
        yield row


def _number(value: Optional[str]) -> int:
    return int(value) if value is not None and value.isdigit() else 0


def _optional(value: Optional[str]) -> Optional[str]:
    return None if value in (None, "", "-") else value
