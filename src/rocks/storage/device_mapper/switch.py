"""A prepared switch of tables: its process starts before the switch and is watched during it."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import rocks
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.device_mapper.rules import STALL_LIMIT_SECONDS

_START_SECONDS = 60.0
_END_SECONDS = 120.0
_POLL_SECONDS = 0.005


class PreparedSwitch:
    """A process that activates the inactive table of a device on request (`switch_process.py`).

    ToolError when it does not become ready. A context manager: the process ends with the block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._unread = b""
        environment = dict(os.environ, PYTHONPATH=str(Path(rocks.__file__).parent.parent))
        program = [
            sys.executable or "/usr/bin/python3",
            "-m",
            "rocks.storage.device_mapper.switch_process",
            name,
        ]
        self._process = start_with_pipes(program, environment)
        if "ready" not in self._receive(Deadline(_START_SECONDS)):
            self._process.kill()
            _, errors = self._process.communicate()
            last = errors.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ToolError(
                f"the switch of /dev/mapper/{name} could not be prepared: {last or 'it printed nothing'}"
            )

    def __enter__(self) -> PreparedSwitch:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        deadline = Deadline(_END_SECONDS)
        while self._process.poll() is None and not deadline.passed():
            wait_seconds(_POLL_SECONDS)  # the kernel may be closing a device whose pool does not respond
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def go(self) -> Optional[float]:
        """Switch. Returns the stall in seconds, None when it was aborted after `STALL_LIMIT_SECONDS`.

        Returns after the old table is destroyed and its devices are closed. OSError of the kernel.
        After None either table may be live: read the device.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()
        answer = self._receive(Deadline(STALL_LIMIT_SECONDS))
        if not answer:
            self._process.kill()
            self._receive(Deadline(_END_SECONDS))
            return None
        if "resumed" in answer:
            stall = float(answer["resumed"])
            answer = self._receive(Deadline(_END_SECONDS))
            if "ended" in answer:
                return stall
        reason = int(answer.get("errno", errno.ETIMEDOUT))
        raise OSError(reason, os.strerror(reason))

    def _receive(self, deadline: Deadline) -> Dict[str, Any]:
        """The next message of the process; empty at the deadline or when the process ends."""
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            readable, _, _ = select.select([self._process.stdout], [], [], deadline.remaining_seconds())
            more = os.read(self._process.stdout.fileno(), 4096) if readable else b""
            if not more:
                return {}
            self._unread += more
        line, self._unread = self._unread.split(b"\n", 1)
        answer: Dict[str, Any] = json.loads(line)
        return answer
