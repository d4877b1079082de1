"""Programs that run for minutes: output is passed on line by line; a deadline ends them with their children."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

from rocks.core.errors import ToolError
from rocks.core.process import start_with_pipes

_POLL_SECONDS = 0.1
_LAST_OUTPUT_SECONDS = 5.0


def run_relayed(
    arguments: Sequence[str], environment: Mapping[str, str], what: str, deadline_seconds: float
) -> None:
    """Run a program to its end; all its output goes to our standard error, line by line.

    ToolError when it fails, with the last line of its standard error, or else of its output. ToolError at the deadline;
    its process group is killed.
    """
    process = start_with_pipes(arguments, environment)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.close()
    errors: list[str] = []
    others: list[str] = []
    relays = [
        threading.Thread(target=_relay, args=(stream, last_line), daemon=True)
        for stream, last_line in ((process.stderr, errors), (process.stdout, others))
    ]
    try:
        for relay in relays:
            relay.start()
        end_at = time.monotonic() + deadline_seconds
        while process.poll() is None:
            if time.monotonic() > end_at:
                raise ToolError(f"{what} was not done within {deadline_seconds:g} s")
            time.sleep(_POLL_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for relay in relays:
        # bounded: a background child may still hold the pipes
        relay.join(timeout=_LAST_OUTPUT_SECONDS)
    if process.returncode != 0:
        last = (errors or others or ["it printed nothing"])[-1]
        raise ToolError(f"{what} failed: {last.removeprefix('Error: ')}")


def _relay(stream: IO[bytes], last_line: list[str]) -> None:
    for line in stream:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            last_line[:] = [text]
        # in one piece: the other stream is printed at the same time
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
