"""Whether a host and a NAS have free space for a map, and a host for a copy; pure."""

from __future__ import annotations

from typing import Optional

from rocks.core.units import size_text
from rocks.storage.life.pool_rest import slop_bytes, unreservable_bytes
from rocks.storage.life.temp_write_rules import reserve_bytes

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
