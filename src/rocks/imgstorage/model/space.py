"""Is there room, before anything is begun; and when must a temp-write volume grow, before it is full; pure."""

from __future__ import annotations

from typing import Literal, NamedTuple, Optional

from rocks.units import BYTES_PER_GIB, gigabytes

CHUNK_BYTES = 8192
EXCEPTION_BYTES = 16
SEED_PERCENT = 110
LEAST_RESERVE_BYTES = 2 * BYTES_PER_GIB

CopyOnWriteStep = Literal["nothing", "watch", "extend", "pause"]

_KEPT_FREE_MOST_BYTES = 8 * BYTES_PER_GIB
"""Two transaction groups of OpenZFS: one has at most 4 GiB (zfs_dirty_data_max_max)."""

_REST_BYTES = BYTES_PER_GIB // 16
_REST_SECONDS = 240
"""OpenZFS counts 24 bytes for each on its way (spa_asize_inflation), and what is written in ten seconds may be so."""

_CHARGE_KNOWN_BYTES = BYTES_PER_GIB // 16
"""With less written, a volume's metadata would count for the layout of its pool."""

_PAUSE_PERCENT = 85
_PAUSE_SECONDS = 5.0
"""Two looks and a half: a guest that would have used up the room by then is not asked how full it is."""


class FillFact(NamedTuple):
    """How full a temp-write volume is, of what it can take (`size_bytes`), and how fast it fills.

    `whole_bytes`: what all of it would take of its pool. `spare_bytes`: so much more could be reserved for it.
    `is_reserved`: all of it is, so that it can never be full; a temp-write volume is larger than its image.
    `has_room_for_all`: the pool could still reserve all of it.
    """

    used_bytes: int
    size_bytes: int
    bytes_per_second: int
    spare_bytes: int
    is_reserved: bool = False
    has_room_for_all: bool = False
    whole_bytes: int = 0

    @property
    def percent(self) -> int:
        """Used, of what it can take."""
        return 100 * self.used_bytes // max(self.size_bytes, 1)


class TempWriteFact(NamedTuple):
    """A temp-write volume in its pool.

    Its size, what is written into it and reserved for it; size and rest of the pool; how fast the volume fills.
    `charged_bytes` is what the pool takes for what is written, which on RAIDZ is up to three times as much.
    """

    size_bytes: int
    used_bytes: int
    reserved_bytes: int
    pool_bytes: int
    free_bytes: int
    bytes_per_second: int
    charged_bytes: int = 0

    def as_charged(self) -> TempWriteFact:
        """Sizes as the pool counts them, since it reserves what it charges."""
        if self.charged_bytes <= self.used_bytes or self.used_bytes < _CHARGE_KNOWN_BYTES:
            return self
        times = self.charged_bytes / self.used_bytes
        return self._replace(
            size_bytes=int(self.size_bytes * times),
            used_bytes=self.charged_bytes,
            bytes_per_second=int(self.bytes_per_second * times),
        )


def reserve_bytes(volume_bytes: int) -> int:
    """What is kept free on a host for a guest's writes while its image is copied: 10 %, at least 2 GiB or all of it."""
    return min(max(volume_bytes // 10, LEAST_RESERVE_BYTES), temp_write_bytes(volume_bytes))


def slop_bytes(pool_bytes: int) -> int:
    """What is left free on a pool: 5 %."""
    return pool_bytes // 20


def kept_free_bytes(pool_bytes: int) -> int:
    """What is never reserved for guests' writes: 5 % of a pool, at most 8 GiB.

    A write fails as soon as a pool has less left than what the last two transaction groups have freed, because OpenZFS
    gives that back later only (dsl_dir_tempreserve_impl in its module/zfs/dsl_dir.c, 2.1.11). A reservation does not
    save the write, unless 24 times as much is left of it.
    """
    return min(slop_bytes(pool_bytes), _KEPT_FREE_MOST_BYTES)


def temp_write_fill(fact: TempWriteFact) -> FillFact:
    """How full it is. Bounded by what is reserved for it and what the pool has to spare, not by its size alone.

    A pool that others have filled takes what is reserved but for a rest, and nothing else.
    """
    fact = fact.as_charged()
    kept = kept_free_bytes(fact.pool_bytes)
    spare = max(0, fact.free_bytes - kept)
    rest = max(_REST_BYTES, fact.bytes_per_second * _REST_SECONDS)
    is_tight = fact.free_bytes < kept // 2
    taken = max(fact.used_bytes, fact.reserved_bytes)
    room = max(fact.used_bytes, fact.reserved_bytes - rest) if is_tight else taken + spare
    is_reserved = fact.reserved_bytes >= fact.size_bytes and (
        not is_tight or fact.reserved_bytes - fact.used_bytes >= rest
    )
    return FillFact(
        fact.used_bytes,
        min(fact.size_bytes, room),
        fact.bytes_per_second,
        spare_bytes=0 if is_reserved else spare,
        is_reserved=is_reserved,
        has_room_for_all=not is_tight and room >= fact.size_bytes,
        whole_bytes=fact.size_bytes,
    )


def temp_write_bytes(volume_bytes: int) -> int:
    """The size of a temp-write volume: every chunk of the image, 16 bytes of metadata for each, and 1 % on top,
    whole chunks of 8 KiB."""
    chunks = -(-volume_bytes // CHUNK_BYTES)
    metadata = chunks * EXCEPTION_BYTES
    return (
        -(-(chunks * CHUNK_BYTES + max(metadata, volume_bytes // 100) + 16 * CHUNK_BYTES) // CHUNK_BYTES)
        * CHUNK_BYTES
    )


def host_room(pool_bytes: int, volume_bytes: int, seed_bytes: int) -> int:
    """What must be free on a host for an image: what is copied and a tenth more, room for writes, and what is left.

    For writes twice: they are merged into the copy before their temp-write volume goes.
    """
    return seed_bytes * SEED_PERCENT // 100 + 2 * reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)


def host_shortage(free_bytes: int, pool_bytes: int, volume_bytes: int, seed_bytes: int) -> Optional[str]:
    """Why an image cannot be mapped to a host's pool, with the numbers; None when it can.

    `free_bytes` is what is not promised to other images, with what kept copies would leave; `seed_bytes` what will be
    copied, 0 for a copy that is there.
    """
    needed = host_room(pool_bytes, volume_bytes, seed_bytes)
    if free_bytes >= needed:
        return None
    return (
        f"its pool has {gigabytes(free_bytes)} free, and {gigabytes(needed)} are needed: "
        f"{gigabytes(seed_bytes)} to copy and a tenth more, {gigabytes(2 * reserve_bytes(volume_bytes))} for writes "
        f"meanwhile and to merge them, {gigabytes(slop_bytes(pool_bytes))} to be left"
    )


def nas_shortage(free_bytes: int, pool_bytes: int, volume_bytes: int) -> Optional[str]:
    """Why the NAS has no room for what will come home; None when it has."""
    needed = reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)
    if free_bytes >= needed:
        return None
    return (
        f"the NAS's pool has {gigabytes(free_bytes)} free, and {gigabytes(needed)} are needed: "
        f"{gigabytes(reserve_bytes(volume_bytes))} for changes, {gigabytes(slop_bytes(pool_bytes))} to be left"
    )


def temp_write_step(fill: FillFact) -> CopyOnWriteStep:
    """What must be done about a temp-write volume now.

    Never full, since device-mapper would then fail the guest's writes: when the pool cannot take all of it, the guest
    is paused at 85 %, or when at its rate nothing would be left within seconds.
    """
    if fill.is_reserved:
        return "nothing"
    left = fill.size_bytes - fill.used_bytes
    seconds_left = left / fill.bytes_per_second if fill.bytes_per_second > 0 else None
    is_urgent = fill.percent >= 70 or (seconds_left is not None and seconds_left < 60)
    if is_urgent and fill.has_room_for_all:
        return "extend"
    if fill.percent >= _PAUSE_PERCENT or (seconds_left is not None and seconds_left < _PAUSE_SECONDS):
        return "pause"
    if is_urgent and fill.spare_bytes > 0:
        return "extend"
    return "watch" if fill.percent >= 50 or is_urgent else "nothing"


def poll_seconds(fill: FillFact) -> float:
    """How soon to look again."""
    return 1.0 if 2 * fill.used_bytes > fill.size_bytes else 2.0
