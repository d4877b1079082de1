"""Bytes between two descriptors and a console."""

import os
import socket
import threading

from rocks.fleet.relay import relay_descriptors
from tests.patience import patience


def test_what_gets_the_number_of_a_closed_console_keeps_its_bytes() -> None:
    """The end of the input ends the relay while its other way waits for the console."""
    ours, theirs = socket.socketpair()
    (reader, no_input), (output, writer), (others, other_end) = (os.pipe() for _ in range(3))
    os.close(no_input)
    relay_descriptors(reader, writer, ours.fileno())
    number = ours.detach()
    os.dup2(others, number)  # as the next connection that is opened gets it
    theirs.sendall(b"late")
    assert os.read(output, 4) == b"late"
    os.write(other_end, b"secret")
    theirs.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.endswith("(_copy)"):
            thread.join(patience(10))
    os.set_blocking(number, False)
    assert os.read(number, 6) == b"secret"
    for each in (reader, output, writer, others, other_end, number):
        os.close(each)
