"""What is awaited before a program gets a machine's serial line."""

import contextlib
import os
import threading
import time
import tty
from collections.abc import Iterator

import pytest

from rocks.machine import consoles


@pytest.fixture
def flood() -> Iterator[int]:
    """A terminal whose far end prints, without an end of line, for two seconds."""
    terminal, far_end = os.openpty()
    tty.setraw(far_end)
    end = time.monotonic() + 2

    def write() -> None:
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                os.write(far_end, b"x" * 512)
        os.close(far_end)

    writer = threading.Thread(target=write)
    writer.start()
    yield terminal
    os.close(terminal)
    writer.join()


def test_a_host_that_prints_no_lines_does_not_hold_who_waits(
    flood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consoles, "_LINES_SECONDS", 0.2)
    monkeypatch.setattr(consoles, "_DISCARD_SECONDS", 0.0)
    began = time.monotonic()
    consoles._wait_for_virsh(flood)
    assert time.monotonic() - began < 1
