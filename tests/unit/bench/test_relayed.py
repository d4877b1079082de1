"""Programs whose output is passed on while they run."""

import os
import time

import pytest

from bench.relayed import run_relayed
from rocks.core.errors import ToolError


def test_both_streams_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    run_relayed(["sh", "-c", "echo out; echo err >&2"], os.environ, "it", 10)
    printed = capfd.readouterr()
    assert sorted(printed.err.split()) == ["err", "out"]
    assert printed.out == ""


def test_the_last_line_reports_a_failure() -> None:
    with pytest.raises(ToolError, match=r"^the lab failed: no tun here$"):
        run_relayed(
            ["sh", "-c", "echo before; echo 'Error: no tun here' >&2; exit 1"], os.environ, "the lab", 10
        )


def test_what_is_not_done_in_time_is_killed_with_its_children() -> None:
    begin = time.monotonic()
    with pytest.raises(ToolError, match="the lab was not done within 0.3 s"):
        run_relayed(["sh", "-c", "sleep 600 & sleep 600"], os.environ, "the lab", 0.3)
    assert time.monotonic() - begin < 300
