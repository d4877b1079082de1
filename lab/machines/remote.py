"""Operations on a machine that runs: programs, files, full disks, waiting for output. Each has a deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lab.machines.login import Login
from rocks.core.errors import HostError
from rocks.core.process import Finished

SHORT_SECONDS = 30.0
"""The deadline where none is given: many times the duration of a short command on an emulated machine."""

_POLL_SECONDS = 0.1
_LAST_MB = 32


class Remote:
    """Root's own view of a machine, over SSH. HostError when the machine is silent, from every method."""

    def __init__(self, name: str, login: Login) -> None:
        self.name = name
        self._login = login

    def run(self, arguments: Sequence[str], deadline_seconds: float = SHORT_SECONDS) -> Finished:
        """Run a program there; ToolError unless it exits with 0, HostError when the machine is silent."""
        return self._login.run_checked(arguments, deadline_seconds)

    def run_any(self, arguments: Sequence[str], deadline_seconds: float = SHORT_SECONDS) -> Finished:
        """Run a program there, whatever its exit status."""
        return self._login.run(arguments, deadline_seconds)

    def shell(self, script: str, deadline_seconds: float = SHORT_SECONDS) -> str:
        """Run a script by the machine's `sh -e`, given on its standard input; returns its output."""
        return self._login.run_checked(["sh", "-e", "-s"], deadline_seconds, script.encode()).text

    def run_script(self, script: str, deadline_seconds: float = SHORT_SECONDS) -> str:
        """Run a script by the machine's bash, given on its standard input; returns all of its output."""
        finished = self._login.run_checked(["bash"], deadline_seconds, script.encode())
        return f"{finished.text}{finished.error_text}"

    def start_program(self, name: str, arguments: Sequence[str]) -> None:
        """Start a program in the background, as the unit `name`; its output goes to /var/log/`name`.log there."""
        output = [f"--property=Standard{stream}=append:/var/log/{name}.log" for stream in ("Output", "Error")]
        self.run(["systemd-run", "--quiet", "--collect", f"--unit={name}", *output, "--", *arguments])

    def write_file(
        self, path: str, data: bytes, mode: str = "644", deadline_seconds: float = SHORT_SECONDS
    ) -> None:
        """Write a file there, its folder made when missing; the file appears whole or not at all."""
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0.new" && chmod "$1" "$0.new" && mv "$0.new" "$0"'
        self._login.run_checked(["sh", "-c", script, path, mode], deadline_seconds, data)

    def copy_in(
        self, source: Path, path: str, mode: str = "644", deadline_seconds: float = SHORT_SECONDS
    ) -> None:
        """Copy a file to the machine."""
        self.write_file(path, source.read_bytes(), mode, deadline_seconds)

    def read_file(self, path: str, deadline_seconds: float = SHORT_SECONDS) -> bytes:
        """Content of a file there."""
        return self._login.run_checked(["cat", path], deadline_seconds).output

    def fill(self, folder: str, left_mb: int = 0) -> str:
        """Fill the file system of a folder up to `left_mb`; returns the path of the file that fills it."""
        path = f"{folder.rstrip('/')}/filled-by-lab"
        free_mb = int(self.run(["df", "--output=avail", "--block-size=1M", folder]).text.split()[-1])
        # The file system's own blocks are none of df's business: nearly all at once, the rest as far as it goes.
        self.run(["fallocate", "--length", f"{max(1, free_mb - left_mb - _LAST_MB)}M", path])
        rest_mb = _LAST_MB if left_mb else 2 * _LAST_MB
        write = [
            "dd",
            "if=/dev/zero",
            f"of={path}",
            "bs=1M",
            f"count={rest_mb}",
            "oflag=append",
            "conv=notrunc,fsync",
        ]
        self.run_any(write)
        return path

    def wait_for(self, arguments: Sequence[str], expected: str, deadline_seconds: float) -> str:
        """Wait until the output contains `expected`; returns it. HostError with the last output at the deadline."""
        end_at = time.monotonic() + deadline_seconds
        text = ""
        while time.monotonic() < end_at:
            answer = self._login.run(arguments, SHORT_SECONDS)
            text = answer.text + answer.error_text
            if expected in text:
                return text
            time.sleep(_POLL_SECONDS)
        raise HostError(
            f"{self.name}: no {expected!r} within {deadline_seconds:g} s; last seen: {text[-500:]!r}"
        )
