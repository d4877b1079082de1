"""The memory of a program that the bench runs."""

import os
import sys

import pytest

from bench.timing import peak_megabytes
from rocks.core.errors import ToolError


def _python(program: str) -> list[str]:
    return [sys.executable, "-E", "-S", "-c", program]


def test_memory_is_that_of_the_program_and_not_of_the_process_that_starts_it() -> None:
    """Linux gives a new program the peak of the process that started it."""
    held = bytearray(100_000_000)
    assert peak_megabytes(["/bin/true"], os.environ) < 50
    assert 50 < peak_megabytes(_python("bytearray(60_000_000)"), os.environ) < 100
    assert len(held) == 100_000_000


def test_a_program_that_fails_has_no_figure() -> None:
    with pytest.raises(ToolError, match="failed with exit status"):
        peak_megabytes(_python("raise SystemExit(3)"), os.environ)
