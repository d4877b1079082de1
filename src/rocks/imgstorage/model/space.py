"""Is there room, before anything is begun; and when must a temp-write volume grow, before it is full; pure."""

from __future__ import annotations

from typing import Literal, NamedTuple, Optional

from rocks.units import BYTES_PER_GIB, gigabytes

CHUNK_BYTES = 8192
EXCEPTION_BYTES = 16
SEED_PERCENT = 110
LEAST_RESERVE_BYTES = 2 * BYTES_PER_GIB

CopyOnWriteStep = Literal["nothing", "watch", "extend", "slow", "pause"]


class FillFact(NamedTuple):
    """How full a temp-write volume is, of what it can take, and how fast it fills."""

    used_bytes: int
    size_bytes: int
    bytes_per_second: int
    can_extend: bool


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


def host_shortage(free_bytes: int, pool_bytes: int, volume_bytes: int, seed_bytes: int) -> Optional[str]:
    """Why an image cannot be mapped to a host's pool, with the numbers; None when it can.

    `free_bytes` is what is not promised to other images; `seed_bytes` what will be copied, 0 for a copy that is there.
    """
    needed = seed_bytes * SEED_PERCENT // 100 + reserve_bytes(volume_bytes) + slop_bytes(pool_bytes)
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

    Never full: at 95 % the guest is paused, since device-mapper would invalidate the whole snapshot.
    """
    percent = 100 * fill.used_bytes // max(fill.size_bytes, 1)
    seconds_left = (
        (fill.size_bytes - fill.used_bytes) / fill.bytes_per_second if fill.bytes_per_second > 0 else None
    )
    if percent >= 95:
        return "pause"
    is_urgent = percent >= 70 or (seconds_left is not None and seconds_left < 60)
    if is_urgent and fill.can_extend:
        return "extend"
    if percent >= 85:
        return "slow"
    return "watch" if percent >= 50 or is_urgent else "nothing"


def poll_seconds(fill: FillFact) -> float:
    """How soon to look again."""
    return 1.0 if 2 * fill.used_bytes > fill.size_bytes else 2.0
