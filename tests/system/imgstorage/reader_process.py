"""A daemon's end of the bus in a process of its own: `reader_process.py NODE ADDRESS PORT PAIR AUTHORITY QUEUE`.

It prints the body of each message that comes and never finishes handling one, so that it can be killed over it.
"""

import signal
import sys

from rocks.storage.bus import Bus, BusSettings, Delivery


def hold(delivery: Delivery) -> None:
    """Receive a message and do not return."""
    print(delivery.body.decode(), flush=True)
    signal.pause() if sys.stdin.isatty() else sys.stdin.read()


if __name__ == "__main__":
    node, address, port, pair, authority, queue = sys.argv[1:]
    Bus(BusSettings(node, address, int(port), "localhost", pair, authority), queue, hold).start()
    signal.pause()
