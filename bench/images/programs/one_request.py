"""`one_request DEVICE…`: how long a read of 64 KiB takes, one after the other, past this machine's cache.

Reads each device at the same places in a random order, all devices in turns, and prints `{"ms": [median of each]}`.
Python 3.9 and no package: it runs on machines of the lab.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time
from collections.abc import Sequence

REQUEST_BYTES = 65536
COUNT = 150
FIRST_BYTES, LAST_BYTES = 1 << 20, 60 << 20


def main(devices: Sequence[str]) -> None:
    """Measure and print."""
    places = random.Random(1).sample(range(FIRST_BYTES // REQUEST_BYTES, LAST_BYTES // REQUEST_BYTES), COUNT)
    buffer = mmap.mmap(-1, REQUEST_BYTES)  # O_DIRECT demands an address that is a multiple of a sector
    files = [os.open(device, os.O_RDONLY | os.O_DIRECT) for device in devices]
    taken: list[list[float]] = [[] for _ in devices]
    for place in places:
        for number, file in enumerate(files):
            begin = time.perf_counter()
            os.preadv(file, [buffer], place * REQUEST_BYTES)
            taken[number].append(time.perf_counter() - begin)
    print(json.dumps({"ms": [1000 * sorted(times)[len(times) // 2] for times in taken]}))


if __name__ == "__main__":
    main(sys.argv[1:])
