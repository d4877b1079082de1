"""How `rocks` is started: here, by the root service `nucleus executor`, or not at all (the simulator)."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nucleus.backends.streams import open_program, open_through
from rocks.core.errors import HostError, ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.backends.streams import Stream
    from nucleus.configuration import ExecutorSettings

LARGEST_ANSWER = 256 * 1024 * 1024
_ANSWER_SECONDS = 10.0


class Answer(NamedTuple):
    """What a command of `rocks` left: exit status, output, error output."""

    status: int
    out: str
    err: str


class Executor(Protocol):
    """Runs `rocks` with these arguments."""

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """Run it to its end. ToolError when it cannot be started or does not end in time; HostError: no executor."""

    def open(self, arguments: Sequence[str]) -> Stream:
        """Start it with a socket as its standard input and output. Errors as of `run`."""


class LocalExecutor:
    """Starts the program as this process's user."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        ended = run([self._program, *arguments], deadline_seconds=deadline_seconds)
        return Answer(ended.exit_status, ended.text, ended.error_text)

    def open(self, arguments: Sequence[str]) -> Stream:
        """See `Executor`."""
        return open_program([self._program, *arguments])


class SocketExecutor:
    """Asks the executor behind a socket: one line of JSON there, one back, a connection for each command."""

    def __init__(self, path: str) -> None:
        self._path = path

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        request = json.dumps({"arguments": list(arguments), "seconds": deadline_seconds})
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
                connection.settimeout(deadline_seconds + _ANSWER_SECONDS)
                connection.connect(self._path)
                connection.sendall(request.encode() + b"\n")
                with connection.makefile("rb") as stream:
                    line = stream.readline(LARGEST_ANSWER)
        except OSError as error:
            raise HostError(
                f"the executor at {self._path} does not answer: {error.strerror or error};"
                " run `systemctl status rocks-nucleus-executor.service`"
            ) from None
        return _read_answer(line, self._path)

    def open(self, arguments: Sequence[str]) -> Stream:
        """See `Executor`."""
        return open_through(self._path, arguments)


def _read_answer(line: bytes, path: str) -> Answer:
    try:
        answer = json.loads(line)
        if "error" in answer:
            raise ToolError(str(answer["error"]))
        return Answer(int(answer["status"]), str(answer["out"]), str(answer["err"]))
    except (ValueError, KeyError, TypeError):
        raise HostError(
            f"the executor at {path} ended in the middle of its answer; repeat the request"
        ) from None


def make_executor(settings: ExecutorSettings) -> Executor:
    """The executor that the settings name."""
    if settings.kind == "socket":
        return SocketExecutor(settings.socket)
    if settings.kind == "simulator":
        from nucleus.backends.simulator import Simulator

        return Simulator(settings.clusters, settings.computes)
    return LocalExecutor(settings.program)
