"""Writes to blocks that lie apart: `python3 -m bench.images.programs.scattered_writes DEVICE BLOCK_BYTES EVERY FIRST`.

Every EVERY-th block, from number FIRST on, gets random content, past all caches. Prints the number of bytes.
"""

from __future__ import annotations

import mmap
import os
import sys


def main(arguments: list[str]) -> int:
    """Write, sync and report; returns the exit status."""
    path, block_bytes, every, first = arguments[0], *(int(argument) for argument in arguments[1:])
    device = os.open(path, os.O_RDWR | os.O_DIRECT)
    size = os.lseek(device, 0, os.SEEK_END)
    aligned = mmap.mmap(-1, block_bytes)  # O_DIRECT needs memory that is aligned to a page
    written = 0
    for number in range(first, size // block_bytes, every):
        aligned[:] = os.urandom(block_bytes)
        written += os.pwritev(device, [aligned], number * block_bytes)
    os.fsync(device)
    os.close(device)
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
