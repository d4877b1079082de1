"""How `rocks` is started: here, or by the root service `nucleus executor`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from rocks.core.errors import HostError, ToolError
from rocks.core.process import finish, run, start_on_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nucleus.configuration import ExecutorSettings

LARGEST_ANSWER = 256 * 1024 * 1024
_LARGEST_LINE = 16 * 1024 * 1024
_ANSWER_SECONDS = 10.0


class Answer(NamedTuple):
    """What a command of `rocks` left: exit status, output, error output."""

    status: int
    out: str
    err: str


class UnreachedError(HostError):
    """Nobody listens at the executor's socket: the command was not begun."""


class Executor(Protocol):
    """Runs `rocks` with these arguments."""

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """Run it to its end. ToolError when it cannot be started or does not end in time; HostError: no executor."""

    def open(self, arguments: Sequence[str]) -> Stream:
        """Start it with a socket as its standard input and output. Errors as of `run`."""


class LocalExecutor:
    """Starts the program as this process's user. The audit log of the site has Nucleus as the source of its changes."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._environment = {**os.environ, "ROCKS_SOURCE": "nucleus"}  # rocks.core.callers reads it

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        command = [self._program, *arguments]
        ended = run(command, deadline_seconds=deadline_seconds, environment=self._environment)
        return Answer(ended.exit_status, ended.text, ended.error_text)

    def open(self, arguments: Sequence[str]) -> Stream:
        """See `Executor`."""
        program, connection = start_on_socket([self._program, *arguments], self._environment)
        return Stream(connection, lambda: finish(program, _END_SECONDS))


class SocketExecutor:
    """Asks the executor behind a socket: a line of JSON there, one back with the output behind it.

    Each command has a connection of its own.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def run(self, arguments: Sequence[str], deadline_seconds: float) -> Answer:
        """See `Executor`."""
        request = {"arguments": list(arguments), "seconds": deadline_seconds}
        try:
            with (
                contextlib.closing(self._ask(request, deadline_seconds + _ANSWER_SECONDS)) as connection,
                connection.makefile("rb") as stream,
            ):
                return _read_answer(stream, self._path)
        except OSError as error:
            raise self._silent(error) from None

    def open(self, arguments: Sequence[str]) -> Stream:
        """See `Executor`: the connection is the console."""
        try:
            connection = self._ask({"arguments": list(arguments), "stream": True}, _CONNECT_SECONDS)
        except OSError as error:
            raise self._silent(error) from None
        connection.settimeout(None)
        return Stream(connection, lambda: "")

    def _ask(self, request: dict[str, object], seconds: float) -> socket.socket:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(seconds)
            try:
                connection.connect(self._path)
            except OSError as error:
                raise self._silent(error, UnreachedError) from None
            connection.sendall(json.dumps(request).encode() + b"\n")
            stack.pop_all()  # it stays open
            return connection

    def _silent(self, error: OSError, kind: type[HostError] = HostError) -> HostError:
        return kind(
            f"the executor at {self._path} does not answer: {error.strerror or error};"
            " run `systemctl status rocks-nucleus-executor.service`"
        )


def _read_answer(stream: IO[bytes], path: str) -> Answer:
    try:
        answer = json.loads(stream.readline(_LARGEST_LINE))
        if "error" in answer:
            raise ToolError(str(answer["error"]))
        size = int(answer["bytes"])
        out = stream.read(min(size, LARGEST_ANSWER))
        if len(out) < size:
            raise ValueError
        return Answer(int(answer["status"]), out.decode(), str(answer["err"]))
    except (ValueError, KeyError, TypeError):
        raise HostError(
            f"the executor at {path} ended in the middle of its answer; repeat the request"
        ) from None


def create_executor(settings: ExecutorSettings) -> Executor:
    """The executor that the settings name."""
    if settings.kind == "socket":
        return SocketExecutor(settings.socket)
    return LocalExecutor(settings.program)


_END_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


class Stream:
    """An open console: `connection` has its bytes; the caller closes it."""

    def __init__(self, connection: socket.socket, end: Callable[[], str]) -> None:
        self.connection = connection
        self._end = end

    def close(self) -> str:
        """End it; returns the error output of its program."""
        with contextlib.suppress(OSError):
            self.connection.close()
        return self._end()
