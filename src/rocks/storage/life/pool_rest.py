"""What stays free in a pool; pure."""

from rocks.core.units import BYTES_PER_GIB

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
