"""The campaign of image storage: its runs, and what its verifier notices that a disk has lost."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from lab.instruments import verifier
from lab.instruments.verifier import (
    BLOCK_BYTES,
    COUNTER_SECTOR,
    SECTOR_BYTES,
    SLOTS,
    block_of,
    judge,
    slot_sector,
)
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from rocks.core.process import Finished, run
from tests.lab.image_site import VOLUME
from tests.lab.long.campaign_plan import CELLS, STATES, LostError, Plan, Result, draw, line_of, table
from tests.lab.long.test_campaign import BLOCK_OF_DATA, Campaign

# The runs of the campaign of image storage are drawn from the seed alone.


def test_a_run_is_the_same_by_itself() -> None:
    in_order = [draw(1, number) for number in range(1, 30)]
    assert draw(1, 17) == in_order[16]
    assert draw(2, 17) != in_order[16]


def test_as_many_runs_as_cells_have_each_fault_in_each_state() -> None:
    for first in (1, CELLS + 1):
        plans = [draw(5, number) for number in range(first, first + CELLS)]
        assert len({(plan.state, plan.fault_text) for plan in plans}) == CELLS
        assert all(0 <= plan.delay_seconds <= STATES[plan.state] for plan in plans)


def test_the_next_round_has_another_order() -> None:
    assert [draw(5, number)[2:5] for number in range(1, 9)] != [
        draw(5, number + CELLS)[2:5] for number in range(1, 9)
    ]


def test_table_has_a_row_for_each_state_and_fault() -> None:
    first = Plan(1, 3, "local", "nas", "power", 0.5, 4.0, 300)
    results = [
        Result(first, "went on", 4.2),
        Result(first._replace(number=9), "unblocked", 8.6),
        Result(first._replace(number=10), "went on", 1.0),
        Result(first._replace(number=11, state="mapping", machine="", fault="broker down"), "went on", 2.0),
    ]
    assert table(results).splitlines()[2:] == [
        "| mapping | broker down | 1 | went on | 2 |",
        "| local | nas power | 3 | went on; unblocked | 9 |",
    ]
    assert line_of(results[0]) == "SEED=1 RUN=3: local, after 0.5 s nas power for 4 s: went on, 4 s"


# A run of the campaign of image storage notices what a disk has lost: each byte of a confirmed write counts.
#
# The lab is not there: of a run, this machine judges a file as the NAS judges its volume, by the same programs.


REPORTED = SLOTS + 100
DATA = BLOCK_OF_DATA * BLOCK_BYTES
SIZE = DATA + (40 << 20)


class Nas:
    """This machine in place of the NAS: the volume is a file."""

    def __init__(self, volume: Path) -> None:
        self._places = {
            f"/dev/zvol/tank/{VOLUME}": str(volume),
            "/root/verifier.py": str(verifier.__file__),
            "iflag=direct ": "",  # a file cannot be read so everywhere
        }

    def run_any(self, arguments: list[str], deadline_seconds: float = 60) -> Finished:
        """As that of a machine of the lab."""
        arguments = [sys.executable if one == "python3" else self._here(one) for one in arguments]
        return run(arguments, deadline_seconds=deadline_seconds)

    def shell(self, script: str, deadline_seconds: float = 60) -> str:
        """As that of a machine of the lab."""
        return self.run_any(["sh", "-c", script], deadline_seconds).text

    def _here(self, text: str) -> str:
        for place, other in self._places.items():
            text = text.replace(place, other)
        return text


class Run(Campaign):
    """A run whose life is a change of the disk after everything was confirmed."""

    def __init__(self, disk: Path, change: Callable[[Path], None]) -> None:
        super().__init__(cast(Lab, {"nas": Nas(disk)}), cast(Frontend, None))
        self._disk, self._change = disk, change

    def _live(self, plan: Plan) -> float:
        self._digest = self._digest_of("nas", f"/dev/zvol/tank/{VOLUME}")
        self._change(self._disk)
        self.judge_data(REPORTED)
        return 4.0


def write(disk: Path, offset: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def slot(count: int) -> int:
    """Where a count is, in bytes."""
    return slot_sector(count) * SECTOR_BYTES


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk on which the guest counted as far as it reported, and one count further; data from DATA on."""
    found = tmp_path / "disk"
    found.touch()
    os.truncate(found, SIZE)
    for count in range(1, REPORTED + 2):
        write(found, slot(count), block_of(count))
    write(found, COUNTER_SECTOR * SECTOR_BYTES, block_of(REPORTED + 1))
    write(found, DATA, os.urandom(20 << 20))
    return found


@pytest.mark.slow
def test_a_disk_with_all_that_was_confirmed_has_lost_nothing(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is beside the guest's ring and the data is of no interest."""
    it = Run(disk, lambda disk: write(disk, DATA - BLOCK_BYTES, b"x"))
    it.run(draw(1, 3))
    assert [one.outcome for one in it.results] == ["went on"] and it.counted == REPORTED + 1
    assert ": went on, 4 s" in capsys.readouterr().out


def flip(offset: int) -> Callable[[Path], None]:
    """Change one bit of the byte there."""

    def change(disk: Path) -> None:
        byte = disk.read_bytes()[offset]
        write(disk, offset, bytes([byte ^ 1]))

    return change


def forget_counts(disk: Path) -> None:
    """As a disk that lacks the last two counts, whole in itself."""
    for count in (REPORTED, REPORTED + 1):
        write(disk, slot(count), block_of(count - SLOTS))
    write(disk, COUNTER_SECTOR * SECTOR_BYTES, block_of(REPORTED - 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flip(slot(REPORTED) + 99), f"reported {REPORTED}, and the NAS has .*wrong_slots.*{REPORTED}"),
        (flip(slot(REPORTED - SLOTS + 2)), f"wrong_slots.*{REPORTED - SLOTS + 2}"),
        (lambda disk: write(disk, slot(REPORTED), block_of(REPORTED - SLOTS)), f"wrong_slots.*{REPORTED}"),
        (forget_counts, f"count.*{REPORTED - 1},"),
        (flip(COUNTER_SECTOR * SECTOR_BYTES + 8), "count.*null"),
        (flip(DATA), "was written"),
        (flip(DATA + (20 << 20) - 1), "was written"),
        (lambda disk: write(disk, DATA + (12 << 20), bytes(BLOCK_BYTES)), "was written"),
    ],
    ids=[
        "a bit of the last count",
        "a bit of an old count",
        "a block of the round before",
        "the last counts",
        "the counter",
        "the first byte of the data",
        "its last byte",
        "a block of it that was never written",
    ],
)
def test_a_planted_difference_is_reported_as_a_loss(
    disk: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], reason: str
) -> None:
    it = Run(disk, change)
    it.is_set_up = True
    with pytest.raises(LostError, match=reason):
        it.run(draw(1, 3))
    assert [one.outcome for one in it.results] == ["LOST"] and ": LOST, " in capsys.readouterr().out
    assert not it.is_set_up, "the next run has another disk"


# The verifier finds whole disks whole and every kind of damage.


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


@pytest.mark.slow
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
