"""Free space: what stays free in a pool, the size of a temp-write volume, whether a map or a copy fits; pure."""

from __future__ import annotations

from typing import Literal, NamedTuple, Optional

from rocks.core.values import BYTES_PER_GIB, size_text

_MAX_UNRESERVED_BYTES = 8 * BYTES_PER_GIB
"""Two transaction groups of OpenZFS: one has at most 4 GiB (zfs_dirty_data_max_max)."""


def slop_bytes(pool_bytes: int) -> int:
    """The part of a pool that stays free when an image is mapped: 5 %."""
    return pool_bytes // 20


def unreservable_bytes(pool_bytes: int) -> int:
    """The part of a pool that is never reserved for guests' writes: 5 %, at most 8 GiB.

    A write fails when a pool has less free space than the last two transaction groups have freed, because OpenZFS
    returns that space later (dsl_dir_tempreserve_impl in its module/zfs/dsl_dir.c, 2.1.11). A reservation prevents the
    failure only while 24 times the size of the write is left of it.
    """
    return min(pool_bytes // 20, _MAX_UNRESERVED_BYTES)


# --- temp-write volumes: their size, how full one is, when it grows and when its guest is paused ---------------------


CHUNK_BYTES = 8192
"""A chunk of device-mapper, and a block of the volume."""
EXCEPTION_BYTES = 16
LEAST_RESERVE_BYTES = 2 * BYTES_PER_GIB

CopyOnWriteStep = Literal["nothing", "watch", "extend", "pause"]

_REST_BYTES = BYTES_PER_GIB // 16
_REST_SECONDS = 240
"""OpenZFS charges 24 bytes for each byte in flight (spa_asize_inflation): up to the writes of ten seconds."""

_CHARGE_KNOWN_BYTES = BYTES_PER_GIB // 16
"""The least that is written: with less, a volume's metadata would count for the layout of its pool."""

_PAUSE_PERCENT = 85
GO_ON_PERCENT = 80
"""Below it a paused guest goes on; from it the volume takes all space there is, no longer half of it."""

_PAUSE_SECONDS = 5.0
"""Two and a half polls: a guest that would fill its volume within that time is paused at any fill level."""


def temp_write_bytes(volume_bytes: int) -> int:
    """The size of a temp-write volume: every chunk of the image, 16 bytes of metadata for each and a margin of 1 %, in
    whole chunks of 8 KiB.
    """
    chunks = -(-volume_bytes // CHUNK_BYTES)
    metadata = chunks * EXCEPTION_BYTES
    return (
        -(-(chunks * CHUNK_BYTES + max(metadata, volume_bytes // 100) + 16 * CHUNK_BYTES) // CHUNK_BYTES)
        * CHUNK_BYTES
    )


def reserve_bytes(volume_bytes: int) -> int:
    """Space on a host for a guest's writes while its image is copied: 10 %, at least 2 GiB or the whole image."""
    return min(max(volume_bytes // 10, LEAST_RESERVE_BYTES), temp_write_bytes(volume_bytes))


class FillFact(NamedTuple):
    """How full a temp-write volume is, of the bytes that it can take (`size_bytes`), and how fast it fills.

    `whole_bytes`: the space of the whole volume in its pool. `reservable_bytes`: what can still be reserved.
    `is_reserved`: the whole volume is reserved, so it cannot become full; it is larger than its image.
    `has_space_for_all`: the pool can still reserve the whole volume.
    """

    used_bytes: int
    size_bytes: int
    bytes_per_second: int
    reservable_bytes: int
    is_reserved: bool = False
    has_space_for_all: bool = False
    whole_bytes: int = 0

    @property
    def percent(self) -> int:
        """Percentage used."""
        return 100 * self.used_bytes // max(self.size_bytes, 1)


class TempWriteFact(NamedTuple):
    """A temp-write volume in its pool: its size, used and reserved bytes, size and free bytes of the pool, fill rate.

    `charged_bytes` is the space that the pool charges for the used bytes: on RAIDZ up to three times as much.
    """

    size_bytes: int
    used_bytes: int
    reserved_bytes: int
    pool_bytes: int
    free_bytes: int
    bytes_per_second: int
    charged_bytes: int = 0

    def as_charged(self) -> TempWriteFact:
        """Sizes as the pool charges them, since it reserves by the same measure."""
        if self.charged_bytes <= self.used_bytes or self.used_bytes < _CHARGE_KNOWN_BYTES:
            return self
        times = self.charged_bytes / self.used_bytes
        return self._replace(
            size_bytes=int(self.size_bytes * times),
            used_bytes=self.charged_bytes,
            bytes_per_second=int(self.bytes_per_second * times),
        )


def temp_write_fill(fact: TempWriteFact) -> FillFact:
    """How full the volume is, bounded by its reservation and the free space of the pool, not by its size alone.

    In a pool that other volumes have filled, it can use its reservation except for a rest, and nothing else.
    """
    fact = fact.as_charged()
    unreserved = unreservable_bytes(fact.pool_bytes)
    reservable = max(0, fact.free_bytes - unreserved)
    rest = max(_REST_BYTES, fact.bytes_per_second * _REST_SECONDS)
    is_tight = fact.free_bytes < unreserved // 2
    taken = max(fact.used_bytes, fact.reserved_bytes)
    limit = max(fact.used_bytes, fact.reserved_bytes - rest) if is_tight else taken + reservable
    is_reserved = fact.reserved_bytes >= fact.size_bytes and (
        not is_tight or fact.reserved_bytes - fact.used_bytes >= rest
    )
    return FillFact(
        fact.used_bytes,
        min(fact.size_bytes, limit),
        fact.bytes_per_second,
        reservable_bytes=0 if is_reserved else reservable,
        is_reserved=is_reserved,
        has_space_for_all=not is_tight and limit >= fact.size_bytes,
        whole_bytes=fact.size_bytes,
    )


def temp_write_step(fill: FillFact) -> CopyOnWriteStep:
    """The action that a temp-write volume needs now.

    It must never become full, since device-mapper would then fail the guest's writes. When the pool cannot take the
    whole volume, the guest is paused at 85 %, or when the volume would be full within seconds at the present rate.
    """
    if fill.is_reserved:
        return "nothing"
    left = fill.size_bytes - fill.used_bytes
    seconds_left = left / fill.bytes_per_second if fill.bytes_per_second > 0 else None
    is_urgent = fill.percent >= 70 or (seconds_left is not None and seconds_left < 60)
    if is_urgent and fill.has_space_for_all:
        return "extend"
    if fill.percent >= _PAUSE_PERCENT or (seconds_left is not None and seconds_left < _PAUSE_SECONDS):
        return "pause"
    if is_urgent and fill.reservable_bytes > 0:
        return "extend"
    return "watch" if fill.percent >= 50 or is_urgent else "nothing"


def poll_seconds(fill: FillFact) -> float:
    """Seconds until the next poll."""
    return 1.0 if 2 * fill.used_bytes > fill.size_bytes else 2.0


# --- whether a host and a NAS have free space for a map, and a host for a copy ---------------------------------------


SEED_PERCENT = 110


def host_space(pool_bytes: int, volume_bytes: int, seed_bytes: int) -> int:
    """Free space that a host needs for an image: the copied bytes and 10 %, space for writes, and the pool's rest.

    Space for writes counts twice: they are merged into the copy before their temp-write volume is destroyed.
    """
    return seed_bytes * SEED_PERCENT // 100 + 2 * reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)


def host_shortage(free_bytes: int, pool_bytes: int, volume_bytes: int, seed_bytes: int) -> Optional[str]:
    """Why an image cannot be mapped to a host's pool, with the numbers; None when it can.

    `free_bytes` excludes space promised to other images and includes evictable copies; `seed_bytes` is the size of the
    transfer, 0 for a complete copy.
    """
    needed = host_space(pool_bytes, volume_bytes, seed_bytes)
    if free_bytes >= needed:
        return None
    return (
        f"its pool has {size_text(free_bytes)} free and {size_text(needed)} are needed: "
        f"{size_text(seed_bytes)} and 10 % for the copy, {size_text(2 * reserve_bytes(volume_bytes))} for writes "
        f"meanwhile and their merge, {size_text(slop_bytes(pool_bytes))} to stay free"
    )


def merged_bytes(volume_bytes: int, written_bytes: int) -> int:
    """Space for the merge of what a guest has written while its image is copied, and may still write."""
    return max(reserve_bytes(volume_bytes), written_bytes)


def copy_space(pool_bytes: int, merge_bytes: int, stream_bytes: int) -> int:
    """Free space that a host needs to receive these bytes of a copy.

    Guests of local images stop in a full pool, so the copy leaves the part that is never reserved, and the space into
    which its guest's writes are merged, as of `merged_bytes`.
    """
    return stream_bytes * SEED_PERCENT // 100 + merge_bytes + unreservable_bytes(pool_bytes)


def copy_shortage(free_bytes: int, pool_bytes: int, merge_bytes: int, stream_bytes: int) -> Optional[str]:
    """Why a host does not receive these bytes of a copy, with the numbers; None when it does.

    `stream_bytes`: 0 while it receives them.
    """
    needed = copy_space(pool_bytes, merge_bytes, stream_bytes)
    if free_bytes >= needed:
        return None
    stream = f"{size_text(stream_bytes)} and 10 % for the copy, " if stream_bytes else ""
    return (
        f"its pool has {size_text(free_bytes)} free and {size_text(needed)} are needed: "
        f"{stream}{size_text(merge_bytes)} for the merge of its guest's writes, "
        f"{size_text(unreservable_bytes(pool_bytes))} to stay free"
    )


def nas_shortage(free_bytes: int, pool_bytes: int, volume_bytes: int) -> Optional[str]:
    """Why the NAS has no free space for the changes of an image, with the numbers; None when it has."""
    needed = reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)
    if free_bytes >= needed:
        return None
    return (
        f"the NAS's pool has {size_text(free_bytes)} free and {size_text(needed)} are needed: "
        f"{size_text(reserve_bytes(volume_bytes))} for changes, {size_text(slop_bytes(pool_bytes))} to stay free"
    )
