"""A switch of tables, prepared: its process is started beforehand, and watched while it does it."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import rocks
from rocks.clock import Deadline, wait_seconds
from rocks.devices.device_mapper.rules import STALL_LIMIT_SECONDS
from rocks.errors import ToolError
from rocks.process import start_with_pipes

_START_SECONDS = 60.0
_END_SECONDS = 120.0
_POLL_SECONDS = 0.005


class PreparedSwitch:
    """A process that will swap the loaded table of a mapping in at one word (`mapping_switcher`).

    ToolError when it does not come to be ready. To be used as a context: at its end the process is gone.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._unread = b""
        environment = dict(os.environ, PYTHONPATH=str(Path(rocks.__file__).parent.parent))
        program = [sys.executable or "/usr/bin/python3", "-m", "rocks.devices.device_mapper.switcher", name]
        self._process = start_with_pipes(program, environment)
        if "ready" not in self._receive(Deadline(_START_SECONDS)):
            self._process.kill()
            _, words = self._process.communicate()
            last = words.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ToolError(
                f"the switch of /dev/mapper/{name} could not be prepared: {last or 'it said nothing'}"
            )

    def __enter__(self) -> PreparedSwitch:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        deadline = Deadline(_END_SECONDS)
        while self._process.poll() is None and not deadline.passed():
            wait_seconds(
                _POLL_SECONDS
            )  # it may be in the kernel, closing a device whose pool does not answer
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def go(self) -> Optional[float]:
        """Swap. Returns the stall in seconds, None when it was given up after `STALL_LIMIT_SECONDS`.

        Returns when the old table is taken apart and its devices are let go of. OSError when the kernel refuses.
        None says nothing about which table is live: the last moment is the kernel's, so read it.
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
        """What the process says next; nothing when it says nothing until the deadline, or ends."""
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
