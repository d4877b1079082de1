"""Is there room, before anything is begun; and when must a temp-write volume grow, before it is full; pure."""

from __future__ import annotations

from typing import Literal, NamedTuple, Optional

from rocks.units import BYTES_PER_GIB, gigabytes

CHUNK_BYTES = 8192
EXCEPTION_BYTES = 16
SEED_PERCENT = 110
LEAST_RESERVE_BYTES = 2 * BYTES_PER_GIB

CopyOnWriteStep = Literal["nothing", "watch", "extend", "pause"]

_PAUSE_PERCENT = 85
_PAUSE_SECONDS = 5.0
"""Two looks and a half: a guest that would have used up the room by then is not asked how full it is."""


class FillFact(NamedTuple):
    """How full a temp-write volume is, of what it can take (`size_bytes`), and how fast it fills.

    `can_extend`: more could be reserved for it. `is_reserved`: all of it is, so that it can never be full; a
    temp-write volume is larger than its image. `has_room_for_all`: the pool could still reserve all of it.
    """

    used_bytes: int
    size_bytes: int
    bytes_per_second: int
    can_extend: bool
    is_reserved: bool = False
    has_room_for_all: bool = False

    @property
    def percent(self) -> int:
        """Used, of what it can take."""
        return 100 * self.used_bytes // max(self.size_bytes, 1)


def reserve_bytes(volume_bytes: int) -> int:
    """What is kept free on a host for a guest's writes while its image is copied: 10 %, at least 2 GiB."""
    return max(volume_bytes // 10, LEAST_RESERVE_BYTES)


def slop_bytes(pool_bytes: int) -> int:
    """What is left free on a pool: 5 %."""
    return pool_bytes // 20


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
    """What must be free on a host for an image: what is copied and a tenth more, room for writes, and what is left."""
    return seed_bytes * SEED_PERCENT // 100 + reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)


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
        f"{gigabytes(seed_bytes)} to copy and a tenth more, {gigabytes(reserve_bytes(volume_bytes))} for writes "
        f"meanwhile, {gigabytes(slop_bytes(pool_bytes))} to be left"
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
    if is_urgent and fill.can_extend:
        return "extend"
    return "watch" if fill.percent >= 50 or is_urgent else "nothing"


def poll_seconds(fill: FillFact) -> float:
    """How soon to look again."""
    return 1.0 if 2 * fill.used_bytes > fill.size_bytes else 2.0
