"""Writes the time into the first block of a device, again and again, each time until it is on the disk.

python3 -m bench.images.programs.clock_writer DEVICE
"""

from __future__ import annotations

import mmap
import os
import sys
import time

_BLOCK_BYTES = 4096
_PAUSE_SECONDS = 0.05


def main(device: str) -> None:
    """Until the machine ends."""
    block = mmap.mmap(-1, _BLOCK_BYTES)  # of a page, as O_DIRECT needs it
    descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
    print("watching", flush=True)  # what who starts it waits for
    while True:
        block.seek(0)
        block.write(b"%.3f\n" % time.time())
        os.pwrite(descriptor, block, 0)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
