"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """An interrupt is one, also where the tests were started in the background of a shell, which has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
