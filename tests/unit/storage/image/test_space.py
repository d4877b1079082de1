"""Free space for a map."""

from __future__ import annotations

import pytest

from rocks.storage.image import space
from tests.unit.storage.records import GIB


def test_free_space_on_a_host() -> None:
    """A tenth above the seed, the reserve twice, for it is merged, and 5 % of the pool."""
    needed = 11 * GIB + 2 * 2 * GIB + 5 * GIB
    assert space.host_shortage(needed, 100 * GIB, 8 * GIB, 10 * GIB) is None
    text = space.host_shortage(needed - 1, 100 * GIB, 8 * GIB, 10 * GIB)
    assert text is not None and "20.0 GiB are needed" in text
    assert space.nas_shortage(2 * GIB, 0, 8 * GIB) is None and space.nas_shortage(2 * GIB, GIB, 8 * GIB)


def test_a_copy_leaves_space_for_its_merge_and_for_other_guests() -> None:
    """The rest of the stream and a tenth, the reserve once, and what is never reserved of the pool."""
    needed = 11 * GIB + 2 * GIB + 5 * GIB
    assert space.copy_shortage(needed, 100 * GIB, 2 * GIB, 10 * GIB) is None
    text = space.copy_shortage(needed - 1, 100 * GIB, 2 * GIB, 10 * GIB)
    assert text is not None and "18.0 GiB are needed: 10.0 GiB and 10 % for the copy, 2.0 GiB for" in text
    assert space.copy_shortage(7 * GIB, 100 * GIB, 2 * GIB, 0) is None
    text = space.copy_shortage(7 * GIB - 1, 100 * GIB, 2 * GIB, 0)
    assert text is not None and "7.0 GiB are needed: 2.0 GiB for the merge" in text


def test_a_merge_needs_space_for_all_that_was_written() -> None:
    """The temp-write volume grows beyond its first reserve."""
    assert space.merged_bytes(100 * GIB, 3 * GIB) == 10 * GIB
    assert space.merged_bytes(100 * GIB, 40 * GIB) == 40 * GIB


# A temp-write volume never becomes full.


UNFILLED = space.FillFact(0, 100, 0, reservable_bytes=50)


@pytest.mark.parametrize(
    ("used", "rate", "evictable", "expected"),
    [
        (10, 0, 50, "nothing"),
        (55, 0, 50, "watch"),
        (10, 2, 50, "extend"),
        (10, 2, 0, "watch"),
        (70, 0, 50, "extend"),
        (70, 0, 0, "watch"),
        (84, 0, 50, "extend"),
        (85, 0, 0, "pause"),
        (85, 0, 50, "pause"),
        (20, 20, 50, "pause"),
        (100, 0, 0, "pause"),
    ],
)
def test_a_temp_write_volume_is_never_full(used: int, rate: int, evictable: int, expected: str) -> None:
    """More is reserved for it; where the pool cannot take all of it, the guest is paused, early if it writes fast."""
    assert space.temp_write_step(space.FillFact(used, 100, rate, evictable)) == expected


@pytest.mark.parametrize(("used", "rate"), [(70, 0), (99, 0), (10, 50)])
def test_a_temp_write_volume_with_enough_free_space_pauses_no_guest(used: int, rate: int) -> None:
    """All of it is reserved; then it can never be full."""
    fill = space.FillFact(used, 100, rate, reservable_bytes=50, has_space_for_all=True)
    assert space.temp_write_step(fill) == "extend"
    assert space.temp_write_step(fill._replace(is_reserved=True, reservable_bytes=0)) == "nothing"


MIB = 2**20
VOLUME = space.TempWriteFact(
    64 * GIB, GIB, reserved_bytes=2 * GIB, pool_bytes=100 * GIB, free_bytes=50 * GIB, bytes_per_second=0
)
"""A hundredth of the pool is 1 GiB, and 5 are kept."""


def test_the_unreserved_part_of_a_pool() -> None:
    """5 %, 8 GiB at most: with less, OpenZFS may refuse any write."""
    assert space.unreservable_bytes(100 * GIB) == 5 * GIB and space.unreservable_bytes(4096 * GIB) == 8 * GIB
    fill = space.temp_write_fill(VOLUME)
    assert (fill.used_bytes, fill.size_bytes, fill.reservable_bytes) == (GIB, 47 * GIB, 45 * GIB)
    reserve_only = space.temp_write_fill(VOLUME._replace(free_bytes=5 * GIB))
    assert (reserve_only.size_bytes, reserve_only.reservable_bytes) == (2 * GIB, 0)
    all_of_it = space.temp_write_fill(VOLUME._replace(reserved_bytes=64 * GIB))
    assert all_of_it.is_reserved and all_of_it.reservable_bytes == 0


@pytest.mark.parametrize(
    ("used", "reserved", "rate", "expected"),
    [
        (GIB, 2 * GIB, 0, "watch"),  # its reservation bears it, but for a rest of 64 MiB
        (GIB, 2 * GIB, 4 * MIB, "pause"),  # of which 24 bytes are wanted for each that is on its way
        (1700 * MIB, 2 * GIB, 0, "pause"),
        (GIB, 0, 0, "pause"),
        (GIB, 65 * GIB, 4 * MIB, "nothing"),
        (
            64 * GIB,
            64 * GIB,
            0,
            "pause",
        ),  # all is written, and each write over it needs free space for a moment
    ],
)
def test_pool_that_other_volumes_have_filled(used: int, reserved: int, rate: int, expected: str) -> None:
    """Less than half of what is kept is left: only what is reserved, and not yet written, lets a write through."""
    fact = VOLUME._replace(
        used_bytes=used, reserved_bytes=reserved, free_bytes=2 * GIB, bytes_per_second=rate
    )
    assert space.temp_write_step(space.temp_write_fill(fact)) == expected


def test_raidz_takes_more_than_is_written() -> None:
    """And what is reserved is counted as it takes it: half written may be all that is reserved."""
    fact = VOLUME._replace(used_bytes=GIB, charged_bytes=2 * GIB, free_bytes=2 * GIB)
    assert space.temp_write_step(space.temp_write_fill(fact)) == "pause"
    fill = space.temp_write_fill(
        VOLUME._replace(used_bytes=GIB, charged_bytes=2 * GIB, reserved_bytes=64 * GIB)
    )
    assert (fill.whole_bytes, fill.is_reserved) == (128 * GIB, False)
    little = VOLUME._replace(used_bytes=MIB, charged_bytes=2 * MIB)
    assert space.temp_write_fill(little).whole_bytes == 64 * GIB


def test_a_temp_write_volume_takes_all_of_the_image() -> None:
    """Every chunk, its metadata, and 1 %; in whole chunks."""
    size = space.temp_write_bytes(8 * GIB)
    assert size > 8 * GIB * 1.01 and size % space.CHUNK_BYTES == 0
    assert space.temp_write_bytes(1) >= 2 * space.CHUNK_BYTES
    assert space.reserve_bytes(64 * 2**20) == space.temp_write_bytes(64 * 2**20) < 66 * 2**20


def test_a_volume_that_is_half_full_is_polled_each_second() -> None:
    assert space.poll_seconds(UNFILLED) == 2.0 and space.poll_seconds(UNFILLED._replace(used_bytes=51)) == 1.0
