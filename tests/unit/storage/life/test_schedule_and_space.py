"""Space, schedule and names."""

import pytest

from rocks.storage.life import names, schedule, space
from rocks.storage.life.schedule import Job, Limits
from tests.unit.storage.records import GIB, NOW, record

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
    assert space.reserve_bytes(64 * MIB) == space.temp_write_bytes(64 * MIB) < 66 * MIB


def test_free_space_on_a_host() -> None:
    """A tenth above the seed, the reserve twice, for it is merged, and 5 % of the pool."""
    needed = 11 * GIB + 2 * 2 * GIB + 5 * GIB
    assert space.host_shortage(needed, 100 * GIB, 8 * GIB, 10 * GIB) is None
    text = space.host_shortage(needed - 1, 100 * GIB, 8 * GIB, 10 * GIB)
    assert text is not None and "20.0 GiB are needed" in text
    assert space.nas_shortage(2 * GIB, 0, 8 * GIB) is None and space.nas_shortage(2 * GIB, GIB, 8 * GIB)
    assert space.poll_seconds(UNFILLED) == 2.0 and space.poll_seconds(UNFILLED._replace(used_bytes=51)) == 1.0


def test_pauses_grow_to_five_minutes() -> None:
    """1, 2, 4 … 300 s."""
    assert [schedule.retry_delay(tries) for tries in (1, 2, 3, 9, 10, 1000)] == [1, 2, 4, 256, 300, 300]


def test_priorities_and_ageing() -> None:
    """A copy goes before a periodic pull, unless that has waited twenty minutes longer; returns count as running."""
    seed, pull = Job("1", "vmh1", "seed", NOW), Job("2", "vmh2", "pull", NOW)
    assert schedule.choose([pull, seed], [], Limits(), NOW) == (seed, pull)
    old = Job("2", "vmh2", "pull", NOW - 1200)
    assert schedule.choose([old, seed], [], Limits(), NOW) == (old, seed)
    busy = [Job("3", "vmh1", "return", 0), Job("4", "vmh1", "return", 0)]
    assert schedule.choose([pull, seed], busy, Limits(), NOW) == (pull,)
    assert schedule.choose([pull, seed], busy, Limits(pulls=2), NOW) == ()
    assert schedule.choose([seed, Job("5", "vmh2", "seed", NOW)], [], Limits(seeds=1), NOW) == (seed,)


def test_what_an_image_waits_for() -> None:
    """A copy when it is mapped, a pull when it is due or asked for."""
    mapped, local = record("mapped"), record("local")
    assert schedule.job_of(mapped, NOW, NOW, NOW) == Job("1", "vmh1", "seed", NOW)
    assert schedule.job_of(local, NOW, NOW + 1, NOW) is None
    assert schedule.job_of(local, NOW, NOW, NOW) == Job("1", "vmh1", "pull", NOW)
    assert schedule.next_pull(NOW, None) == NOW + 300 and schedule.next_pull(NOW, 60) == NOW + 60
    seeding = schedule.running_of(record("seeding"))
    assert seeding is not None and seeding.kind == "seed" and schedule.running_of(local) is None


def test_names() -> None:
    """What is not allowed in an iSCSI name is written in hexadecimal."""
    assert names.target_name("NAS-0-0", "VM_1-vol", 7) == "iqn.2001-04.com.nas-0-0:vm-5f1-vol.7"
    name = names.snapshot_name(7, 3, 0)
    assert name == "img-7-3-19700101T000000Z" and names.parse_snapshot_name(name) == (7, 3)
    assert names.parse_snapshot_name("img-golden") is None
    assert names.unit_serial("1", 1) != names.unit_serial("1", 2) and len(names.unit_serial("1", 1)) == 16
    assert names.cursor_bookmark("255", "vmh1") == "imgstore_CURSOR_G_00000000000000ff_H_vmh1"
