"""This machine as a host: the same agent and commands, started directly instead of by SSH."""

from __future__ import annotations

import contextlib
import os
import select
import signal

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import ToolError
from rocks.core.process import ends_within, start_with_pipes
from rocks.fleet.agent_line import AgentLine, NoAgentError
from rocks.fleet.connection import BoundedBuffer, CommandOutput, FleetSettings, HostAddress, command_output

_CHUNK_BYTES = 65536
_SHELL = "/bin/bash"
_EXIT_SECONDS = 1.0


class LocalConnection:
    """As `SshConnection`, without SSH."""

    def __init__(self, host: HostAddress, settings: FleetSettings) -> None:
        self._host = host
        self._settings = settings

    def open_agent(self) -> AgentLine:
        """As `Connection.open_agent`; NoAgentError when the agent is not installed here."""
        try:
            with dry_run.reading():
                stream = PipeStream([self._settings.agent_program, "--serve"])
        except ToolError as error:
            raise NoAgentError(f"host {self._host.name}, this machine, has no agent: {error}") from None
        return AgentLine(self._host.name, stream)

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        """As `Connection.run`; the shell is bash."""
        stream, deadline = PipeStream([_SHELL, "-c", command]), Deadline(timeout_seconds)
        with contextlib.suppress(OSError):
            stream.send(standard_input, deadline)  # what ended early, or took too long, `collect` reports
        stream.close()
        return stream.collect(deadline)

    def close(self) -> None:
        """As `Connection.close`."""


class PipeStream:
    """A program's standard streams, read and written with deadlines."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = start_with_pipes(arguments)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input, self._output = self._process.stdin, self._process.stdout
        self._error_output = self._process.stderr
        for pipe in (self._input, self._output, self._error_output):
            os.set_blocking(pipe.fileno(), False)
        self._error_buffer = BoundedBuffer()

    def send(self, data: bytes, deadline: Deadline) -> None:
        remaining = memoryview(data)
        while remaining:
            _wait(self._input.fileno(), select.POLLOUT, deadline)
            with contextlib.suppress(BlockingIOError):
                remaining = remaining[os.write(self._input.fileno(), remaining) :]

    def receive(self, deadline: Deadline) -> bytes:
        _wait(self._output.fileno(), select.POLLIN, deadline)
        return os.read(self._output.fileno(), _CHUNK_BYTES)

    def exit_information(self) -> tuple[int | None, bytes]:
        deadline = Deadline(_EXIT_SECONDS)
        while self._process.poll() is None and not deadline.passed():
            wait_seconds(0.01)
        with contextlib.suppress(BlockingIOError):
            self._error_buffer.add(os.read(self._error_output.fileno(), _CHUNK_BYTES))
        return self._process.returncode, bytes(self._error_buffer.data)

    def close(self) -> None:
        """Close the program's standard input; the program then ends."""
        with contextlib.suppress(OSError):
            self._input.close()

    def kill(self) -> None:
        """Kill the program: a thread that waits for its output reads the end of it, and one that writes fails."""
        if self._process.returncode is not None:
            return  # it was waited for: its number may be another program's
        with contextlib.suppress(ProcessLookupError), dry_run.reading():
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill the program and close its streams. No thread may use them now: others get their descriptors."""
        self.close()
        self._end(killed=True)

    def collect(self, deadline: Deadline) -> CommandOutput:
        """The output of the program until its end; at the deadline its process group is killed.

        One that has closed its output has a second more: it is about to end.
        """
        buffers = {self._output.fileno(): BoundedBuffer(), self._error_output.fileno(): BoundedBuffer()}
        open_pipes = set(buffers)
        while open_pipes and not deadline.passed():
            for pipe in _ready(open_pipes, deadline):
                chunk = os.read(pipe, _CHUNK_BYTES)
                buffers[pipe].add(chunk)
                if not chunk:
                    open_pipes.discard(pipe)
        remaining = deadline.remaining_seconds()
        left = None if remaining is None else max(remaining, _EXIT_SECONDS)
        is_in_time = not open_pipes and ends_within(self._process, left)
        exit_status = self._end(killed=not is_in_time)
        return command_output(exit_status, *buffers.values())

    def _end(self, killed: bool) -> int | None:
        if killed:
            self.kill()
            ends_within(self._process, _EXIT_SECONDS)  # what waits in the kernel for a disk does not end
        self._output.close()
        self._error_output.close()
        return None if killed else self._process.returncode


def _ready(pipes: set[int], deadline: Deadline) -> list[int]:
    poller = select.poll()
    for pipe in pipes:
        poller.register(pipe, select.POLLIN)
    remaining = deadline.remaining_seconds()
    return [pipe for pipe, _ in poller.poll(None if remaining is None else remaining * 1000 + 1)]


def _wait(descriptor: int, event: int, deadline: Deadline) -> None:
    poller = select.poll()
    poller.register(descriptor, event)
    remaining = deadline.remaining_seconds()
    if not poller.poll(None if remaining is None else remaining * 1000 + 1):
        raise TimeoutError
