"""The verifier finds whole disks whole and every kind of damage."""

import io

import pytest

from lab.instruments.verifier import COUNTER_SECTOR, SECTOR_BYTES, SLOTS, block_of, judge, slot_sector


def disk_after(count: int, ahead: int = 0) -> io.BytesIO:
    """A disk as the guest leaves it after `count` counts, `ahead` more of them in the ring only."""
    disk = io.BytesIO(bytes((slot_sector(SLOTS - 1) + 8) * SECTOR_BYTES))
    for number in range(max(1, count - SLOTS + 1), count + ahead + 1):
        put(disk, slot_sector(number), block_of(number))
    put(disk, COUNTER_SECTOR, block_of(count))
    return disk


def put(disk: io.BytesIO, sector: int, data: bytes) -> None:
    """Write at a sector."""
    disk.seek(sector * SECTOR_BYTES)
    disk.write(data)


@pytest.mark.parametrize("count", [1, 70, SLOTS, SLOTS + 1, 3 * SLOTS + 5])
@pytest.mark.parametrize("ahead", [0, 1])
def test_disk_as_the_guest_leaves_it_is_whole(count: int, ahead: int) -> None:
    """Stopped between two counts, or between its two writes of one."""
    found = judge(disk_after(count, ahead))
    assert (found.count, found.wrong_slots, found.newer_slots) == (count, (), ahead)
    assert found.is_whole


def test_lost_count_is_named() -> None:
    """A slot that holds what it held a round before is a lost write."""
    disk = disk_after(SLOTS + 100)
    put(disk, slot_sector(SLOTS + 7), block_of(7))
    found = judge(disk)
    assert found.wrong_slots == (SLOTS + 7,)
    assert not found.is_whole


def test_lost_counter_is_seen_by_the_ring() -> None:
    """A counter that went back while the ring went on means that a write of it was lost."""
    disk = disk_after(50, ahead=3)
    assert judge(disk).newer_slots == 3
    assert not judge(disk).is_whole


@pytest.mark.parametrize("place", [0, 4, 2048, 4095])
def test_torn_counter_is_no_count(place: int) -> None:
    """Any wrong byte of the counter's block makes the disk worthless."""
    disk = disk_after(9)
    block = bytearray(block_of(9))
    block[place] ^= 1
    put(disk, COUNTER_SECTOR, bytes(block))
    assert judge(disk).count is None
    assert not judge(disk).is_whole


def test_block_is_the_guests() -> None:
    """The first words, computed by hand from the description in counting_guest.S."""
    assert block_of(1)[:16] == b"CNTG" + (1).to_bytes(4, "little") + bytes.fromhex(
        "b279379e"
    ) + bytes.fromhex("63f36e3c")
