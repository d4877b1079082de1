"""The replies of image storage: shapes that daemons write and commands read, with the names of fields in messages."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, TypeVar

from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import read_shape
from rocks.storage.wire.names import read_tag

Fields = Mapping[str, Any]
Row = TypeVar("Row")


@dataclass(frozen=True)
class ImageRow:
    """An image of a NAS. `time` is when its transfer was queued, `nextsync` when the next is due, UNIX seconds.

    `is_sending` is 1 for a transfer to the host, 0 for one to the NAS, None without a transfer; with `is_delete_remote`
    it is the last one. `locked` is the volume's name while a map would raise BusyError. `due_at`: a removed image is
    destroyed then, UNIX seconds. `silent_seconds`: for so long its host has sent nothing, and it should have. `peer` is
    the other NAS of a move; in the state `arriving` the image is not of this NAS yet. `machine` is the UUID of the
    machine that the image was mapped for first, '' before that, None from a NAS that does not say it.
    """

    zvol: str
    zpool: str
    state: str
    word: str
    iscsi_target: Optional[str] = None
    remotehost: Optional[str] = None
    remotepool: Optional[str] = None
    is_sending: Optional[int] = None
    is_delete_remote: Optional[int] = None
    time: Optional[int] = None
    nextsync: Optional[int] = None
    frequency: Optional[int] = None
    locked: Optional[str] = None
    size_bytes: int = 0
    persistent: bool = True
    reason: str = ""
    due_at: Optional[int] = None
    silent_seconds: Optional[int] = None
    image_id: str = ""
    peer: Optional[str] = None
    machine: Optional[str] = None


@dataclass(frozen=True)
class MadeVolume:
    """A new volume; its guid is decimal text."""

    guid: str
    size_bytes: int


@dataclass(frozen=True)
class OperationRow:
    """An operation in progress on a NAS. `op` is `-` for a transfer that no command waits for; `rate` in bytes per
    second, `eta` in seconds."""

    op: str
    action: str
    image: str
    host: Optional[str] = None
    phase: Optional[str] = None
    percent: Optional[float] = None
    bytes: Optional[int] = None
    rate: Optional[int] = None
    eta: Optional[int] = None
    reason: str = ""


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot of an image on its NAS."""

    name: str
    guid: str
    created: str
    referenced_bytes: int
    written_bytes: int
    holds: int
    clones: Tuple[str, ...] = ()
    tags: Tuple[str, ...] = ()


@dataclass(frozen=True)
class SnapshotsOfImage:
    """The snapshots of an image, and the UUID of the machine whose it is; None from a NAS that does not say it.

    `origin` is the snapshot (POOL/VOLUME@NAME) that it is a clone of, '' for none; `size_bytes` that of its volume, 0
    without one and from an earlier release.
    """

    rows: Tuple[SnapshotRow, ...]
    machine: Optional[str]
    origin: str
    size_bytes: int

    @property
    def clones(self) -> Tuple[str, ...]:
        """The clones of all of them (POOL/VOLUME)."""
        return tuple(clone for one in self.rows for clone in one.clones)

    @property
    def held(self) -> Tuple[str, ...]:
        """The snapshots of its machine that it is part of."""
        tags = [read_tag(hold) for one in self.rows for hold in one.tags]
        return tuple(dict.fromkeys(tag.snapshot for tag in tags if tag is not None))


@dataclass(frozen=True)
class HeldRow:
    """A snapshot of an image that is held."""

    name: str
    guid: str


@dataclass(frozen=True)
class DeviceRow:
    """A host's part of an image; `size` in GiB, `time` when it was queued, UNIX seconds. `note` is for people.

    `in_use`: a guest or a program has its device open; false also from a host of an older release.
    """

    sync: str = ""
    target: Optional[str] = None
    device: Optional[str] = None
    status: Optional[str] = None
    size: Optional[int] = None
    bdev: Optional[str] = None
    started: bool = False
    synced: Optional[str] = None
    time: Optional[int] = None
    note: Optional[str] = None
    in_use: bool = False


@dataclass(frozen=True)
class CopyRow:
    """A copy on a host that no guest uses; `created` is when its newest snapshot was taken, UNIX seconds."""

    volume: str
    kind: str
    nas: str
    size_bytes: int
    created: Optional[int] = None
    reason: str = ""


@dataclass(frozen=True)
class MadeBase:
    """The base volume of an image of the library; without `complete` its content has to be transferred."""

    guid: str
    size_bytes: int
    complete: bool


@dataclass(frozen=True)
class RefusedClone:
    """A volume that must not be made, or used, now."""

    zvol: str
    reason: str


@dataclass(frozen=True)
class MadeClones:
    """Volumes of a request for clones, each in one of the lists.

    `made`: now. `present`: nothing was made, since the volume exists, or existed and is looked for. `missing`: it has
    no origin on the NAS. `refused`: it must not be made, or is not what was asked for.
    """

    made: Tuple[str, ...]
    present: Tuple[str, ...]
    missing: Tuple[str, ...]
    refused: Tuple[RefusedClone, ...] = ()


@dataclass(frozen=True)
class BaseRow:
    """A base volume: the image's name and digest, the space that it takes, and how many disks are clones of it."""

    zpool: str
    zvol: str
    image: str
    digest: str
    used_bytes: int
    clones: int
    complete: bool


@dataclass(frozen=True)
class ImageAttributes:
    """The attributes of one image: seconds, UNIX seconds, bytes per second as text; None for one that is not set."""

    zvol: str
    frequency: Optional[int] = None
    nextsync: Optional[int] = None
    uploadspeed: Optional[str] = None
    downloadspeed: Optional[str] = None
    persistent: bool = True


def read_nothing(fields: Fields) -> None:
    """Read a reply without fields that count."""


def read_bdev(fields: Fields) -> str:
    """The path of a device. IncoherentError without one."""
    return _read_text("bdev", fields)


def read_body_text(fields: Fields) -> str:
    """The text in `body`. IncoherentError without one."""
    return _read_text("body", fields)


def read_rows(shape: Type[Row], fields: Fields) -> Tuple[Row, ...]:
    """The rows in `body` of an answer. IncoherentError when it is no list, or a field is missing."""
    body = fields.get("body")
    if not isinstance(body, list) or not all(isinstance(row, dict) for row in body):
        raise IncoherentError("the answer has no list of rows")
    rows: List[Row] = [read_shape(shape, row) for row in body]
    return tuple(rows)


def read_devices(fields: Fields) -> Dict[str, DeviceRow]:
    """Volume → the host's part of it. IncoherentError when `body` is no such object."""
    body = fields.get("body")
    if not isinstance(body, dict) or not all(isinstance(row, dict) for row in body.values()):
        raise IncoherentError("the answer has no rows by volume")
    return {str(volume): read_shape(DeviceRow, row) for volume, row in body.items()}


def read_image_attributes(fields: Fields) -> ImageAttributes:
    """The attributes in `body`. IncoherentError when it is no object."""
    body = fields.get("body")
    if not isinstance(body, dict):
        raise IncoherentError("the answer has no attributes")
    return read_shape(ImageAttributes, body)


def read_attributes(fields: Fields) -> Dict[str, Optional[str]]:
    """The attributes of a whole NAS; None is a value too. IncoherentError when they are missing."""
    attributes = fields.get("attrs")
    if not isinstance(attributes, dict):
        raise IncoherentError("the answer has no attributes")
    return {str(name): None if value is None else str(value) for name, value in attributes.items()}


def read_names(fields: Fields) -> Dict[str, str]:
    """Volume → name, in `body`. IncoherentError when it is no object of texts."""
    body = fields.get("body")
    if not isinstance(body, dict) or not all(isinstance(name, str) for name in body.values()):
        raise IncoherentError("the answer has no names by volume")
    return {str(volume): name for volume, name in body.items()}


def read_snapshots(fields: Fields) -> SnapshotsOfImage:
    """Snapshots, whose they are, and the image's origin and size."""
    machine, origin, size_bytes = (fields.get(name) for name in ("machine", "origin", "size_bytes"))
    return SnapshotsOfImage(
        read_rows(SnapshotRow, fields),
        machine if isinstance(machine, str) else None,
        origin if isinstance(origin, str) else "",
        size_bytes if isinstance(size_bytes, int) else 0,
    )


def _read_text(name: str, fields: Fields) -> str:
    """A field with a text that is not empty. IncoherentError otherwise."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise IncoherentError(f"the answer has no {name}")
    return value
