"""The control socket of a running QEMU: its monitor protocol, QMP, over a unix socket."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rocks.core.errors import HostError, ToolError

_CONNECT_SECONDS = 5.0


class Monitor:
    """Commands to the QEMU that listens at `path`; each call has its deadline, so a hung QEMU blocks no caller."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, command: str, deadline_seconds: float = 10.0, **arguments: Any) -> Any:
        """Run one command and return its result. HostError when QEMU does not answer, ToolError when it refuses."""
        try:
            with _connected(self._path) as stream:
                stream.settimeout(deadline_seconds)
                lines = stream.makefile("rwb")
                lines.readline()  # the greeting
                _exchange(lines, {"execute": "qmp_capabilities"})
                return _exchange(lines, {"execute": command, "arguments": arguments})
        except (OSError, ValueError) as error:
            raise HostError(f"QEMU does not answer `{command}` at {self._path}: {error}") from None

    def run_line(self, line: str, deadline_seconds: float) -> None:
        """Run a line of the human monitor, which prints only when it fails. ToolError with its output."""
        output = str(self.ask("human-monitor-command", deadline_seconds, **{"command-line": line})).strip()
        if output:
            raise ToolError(f"QEMU refused `{line}`: {output}")


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    """A connection by way of the folder's handle: a socket's path has 107 bytes at most, a folder's may be longer."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(_CONNECT_SECONDS)
            stream.connect(f"/proc/self/fd/{handle}/{path.name}")
            yield stream
    finally:
        os.close(handle)


def _exchange(lines: Any, request: dict[str, Any]) -> Any:
    lines.write(json.dumps(request).encode() + b"\n")
    lines.flush()
    while True:
        line = lines.readline()
        if not line:
            raise ValueError("it closed the connection")
        answer = json.loads(line)
        if "error" in answer:
            raise ToolError(
                f"QEMU refused {request['execute']}: {answer['error'].get('desc', answer['error'])}"
            )
        if "return" in answer:
            return answer["return"]  # anything else is an event
