"""The poller in a process of its own: one that compares 20,000 machines would keep requests of its process waiting."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from nucleus.mirror.events import NEWS, WORK
from rocks.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def own_process(poll: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run the poller, which polls until an event is set, in a child of this process, until the end of the block.

    No other thread runs yet, and no connection to the database is open: a child has copies of all that there is. It
    shares the memory of what is imported already. It ends with this process, also with one that is killed. If it ends
    before, this process gets SIGTERM, and the block ends with HostError.
    """
    ours, theirs = socket.socketpair()
    child = multiprocessing.get_context("fork").Process(target=_poll, args=(poll, ours, theirs))
    child.start()
    theirs.close()
    is_ending = threading.Event()
    listening = threading.Thread(target=_pass_on, args=(ours, is_ending), name="news of the poller")
    listening.start()
    try:
        yield
    finally:
        is_ending.set()
        with contextlib.suppress(OSError):  # it has ended already
            ours.shutdown(socket.SHUT_RDWR)
        child.join()
        listening.join()
        ours.close()
    if child.exitcode:
        cause = (
            signal.Signals(-child.exitcode).name if child.exitcode < 0 else f"exit status {child.exitcode}"
        )
        raise HostError(
            f"the poller's process has ended ({cause}), and the service with it: see `journalctl -u rocks-nucleus`, "
            "and start the service again"
        )


def _pass_on(child: socket.socket, is_ending: threading.Event) -> None:
    """Wake those of this process who wait for what the poller has written; end this process if the poller ends."""
    while child.recv(1):
        NEWS.give()
        WORK.give()
    if not is_ending.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _poll(poll: Callable[[threading.Event], None], ours: socket.socket, theirs: socket.socket) -> None:
    """In the child: poll until the other end of the socket is closed."""
    ours.close()
    for number in (signal.SIGTERM, signal.SIGINT):  # those of a service get them, too; its end is ours
        signal.signal(number, signal.SIG_IGN)
    stop = threading.Event()
    threads = [
        threading.Thread(target=poll, args=(stop,), name="poller"),
        threading.Thread(target=_send_news, args=(theirs, NEWS.number), name="news", daemon=True),
    ]
    for thread in threads:
        thread.start()
    # a reset: the service was killed before it had read all that was sent to it (unix_release_sock of Linux 6.1)
    with contextlib.suppress(ConnectionResetError):
        theirs.recv(1)
    stop.set()
    threads[0].join()


def _send_news(parent: socket.socket, seen: int) -> None:
    """Send a byte whenever the poller has written something; `seen`: how often NEWS was given before."""
    with contextlib.suppress(OSError):  # the other process has ended
        while True:
            if seen != (seen := NEWS.wait(seen, 60.0)):
                parent.sendall(b"!")
