"""Judge a disk bit for bit: is every count of the counting guest on it, and is it equal to another disk?

    python3 verifier.py DISK [at-least=COUNT] [equals=OTHER_DISK]

prints one JSON object and exits with 0 when nothing is wrong, 1 otherwise, 2 when a disk cannot be read. It stands
alone, so that it can be copied to a machine and run there. counting_guest.S defines the format on the disk.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO

SECTOR_BYTES = 512
BLOCK_BYTES = 4096
COUNTER_SECTOR = 2048
FIRST_SLOT_SECTOR = 4096
SLOTS = 1024
_MAGIC = 0x47544E43
_STEP = 0x9E3779B1
_MAX_REPORTED = 10
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Judgement:
    """The state of a counting guest's disk.

    `count`: the last one that the guest had written, None when there is no whole one. `wrong_slots`: counts up to it
    that are not in the ring as they were written. `newer_slots`: how many counts the ring is ahead, one at most when
    the guest was stopped between its two writes.
    """

    count: int | None
    wrong_slots: tuple[int, ...]
    newer_slots: int

    @property
    def is_whole(self) -> bool:
        """Whether every write that was reported to the guest as done is there."""
        return self.count is not None and not self.wrong_slots and self.newer_slots <= 1


def block_of(count: int) -> bytes:
    """The 4 KiB that the guest writes for a count."""
    numbers = [_MAGIC, *((count + _STEP * number) & 0xFFFFFFFF for number in range(BLOCK_BYTES // 4 - 1))]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def slot_sector(count: int) -> int:
    """The sector of the ring that a count is written to."""
    return FIRST_SLOT_SECTOR + count % SLOTS * (BLOCK_BYTES // SECTOR_BYTES)


def judge(disk: BinaryIO) -> Judgement:
    """Read the counter and the whole ring, and compare every byte with the guest's expected writes."""
    counter = _read(disk, COUNTER_SECTOR)
    magic, count = struct.unpack_from("<II", counter)
    if magic != _MAGIC or counter != block_of(count):
        return Judgement(None, (), 0)
    wrong = []
    for number in range(max(1, count - SLOTS + 1), count + 1):
        found = _read(disk, slot_sector(number))
        # The slot of the oldest count is overwritten before the counter goes on.
        allowed = {block_of(number)} | ({block_of(count + 1)} if number == count + 1 - SLOTS else set())
        if found not in allowed:
            wrong.append(number)
    newer = 0
    while newer < SLOTS and _read(disk, slot_sector(count + newer + 1)) == block_of(count + newer + 1):
        newer += 1
    return Judgement(count, tuple(wrong), newer)


def digest(disk: BinaryIO) -> str:
    """SHA-256 of the whole disk."""
    disk.seek(0)
    found = hashlib.sha256()
    while chunk := disk.read(_CHUNK_BYTES):
        found.update(chunk)
    return found.hexdigest()


def _read(disk: BinaryIO, sector: int) -> bytes:
    disk.seek(sector * SECTOR_BYTES)
    return disk.read(BLOCK_BYTES)


def main(arguments: list[str]) -> int:
    """Judge the disk that the arguments name; returns the exit status."""
    options = dict(value.split("=", 1) for value in arguments[1:] if "=" in value)
    if not arguments or len(options) != len(arguments) - 1 or not options.keys() <= {"at-least", "equals"}:
        print("usage: verifier.py DISK [at-least=COUNT] [equals=OTHER_DISK]", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as disk:  # noqa: PTH123 - block devices as well
            found = judge(disk)
            report: dict[str, object] = {
                "count": found.count,
                "wrong_slots": list(found.wrong_slots[:_MAX_REPORTED]),
                "newer_slots": found.newer_slots,
            }
            good = found.is_whole and (found.count or 0) >= int(options.get("at-least", "0"))
            if "equals" in options:
                with open(options["equals"], "rb") as other:  # noqa: PTH123
                    report["equal"] = digest(disk) == digest(other)
                    good = good and bool(report["equal"])
    except OSError as error:
        print(f"verifier.py: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report | {"good": good}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
