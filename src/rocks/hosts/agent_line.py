"""Talking to an agent in its serving mode over any two-way stream of bytes: a line there, a line back."""

from __future__ import annotations

import contextlib
from typing import Protocol

from rocks.clock import Deadline
from rocks.errors import HostError
from rocks.wire.envelope import MAXIMUM_LINE_BYTES, printable_bytes

_NOT_STARTED = (126, 127)


class Stream(Protocol):
    """An agent's standard input and output."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write all of it. TimeoutError at the deadline, OSError when the far end is gone."""

    def receive(self, deadline: Deadline) -> bytes:
        """Some bytes, none at the end. TimeoutError at the deadline, OSError when the connection is gone."""

    def exit_information(self) -> tuple[int | None, bytes]:
        """After the end: the agent's exit status where it is known, and what it wrote on standard error."""

    def close(self) -> None:
        """Let the agent go."""


class NoAgentError(HostError):
    """There is no agent on the host that could be started."""


class AgentLine:
    """The line to the agent on the host named `name`. After an error it is closed and of no more use."""

    def __init__(self, name: str, stream: Stream) -> None:
        self._name = name
        self._stream = stream
        self._read = bytearray()

    def ask(self, line: bytes, deadline_seconds: float) -> bytes:
        """Send a request line and return the line that answers it, without its end.

        NoAgentError when the agent cannot be started; HostError when it ends instead, at the deadline, or
        when the answer is longer than the wire allows.
        """
        deadline = Deadline(deadline_seconds)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already: what it said is the answer
                self._stream.send(line, deadline)
            return self._read_line(deadline)
        except TimeoutError:
            self.close()
            raise HostError(
                f"the agent on host {self._name} did not answer within {deadline_seconds:g} s; "
                "what it was asked may still be under way there"
            ) from None
        except OSError as error:
            raise self._ended(str(error).encode()) from None

    def close(self) -> None:
        """Let the agent go: it finishes what it does and ends."""
        self._stream.close()

    def _read_line(self, deadline: Deadline) -> bytes:
        searched = 0
        while True:
            end = self._read.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self._read)
            chunk = self._stream.receive(deadline)
            if not chunk:
                raise self._ended(b"")
            self._read += chunk
            if len(self._read) > MAXIMUM_LINE_BYTES:
                raise self._endless()
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        return line

    def _ended(self, words: bytes) -> HostError:
        exit_status, said = self._stream.exit_information()
        self.close()
        status = "" if exit_status is None else f" with exit status {exit_status}"
        last = (bytes(self._read) or said or words).strip().splitlines()[-1:]
        says = f", saying {printable_bytes(last[0], 200)}" if last else ""
        if exit_status in _NOT_STARTED:
            return NoAgentError(f"host {self._name} has no agent that starts{says}")
        return HostError(f"the agent on host {self._name} ended{status} without an answer{says}")

    def _endless(self) -> HostError:
        self.close()
        return HostError(
            f"the agent on host {self._name} sent more than {MAXIMUM_LINE_BYTES} bytes without an end of "
            f"line, beginning with {printable_bytes(bytes(self._read[:80]))}"
        )
