"""The first record of a ZFS stream, from which `zfs receive` decides what it creates; pure.

Layout and values: `dmu_replay_record` in OpenZFS' `zfs_ioctl.h`. The numbers are in the byte order of the sender.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, NoReturn, Optional

from rocks.core.errors import IncoherentError, UserError
from rocks.storage.zfs.facts import ReceiveSpec
from rocks.storage.zfs.names import check_part

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
