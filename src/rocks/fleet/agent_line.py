"""Requests to an agent in its serving mode over any bidirectional byte stream: a request line, a reply line."""

from __future__ import annotations

import contextlib
from typing import Protocol

from rocks.core.clock import Deadline
from rocks.core.errors import HostError
from rocks.fleet.wire.calls import MAXIMUM_LINE_BYTES, printable_bytes

RECEIPT_SECONDS = 30.0
"""How long to wait until the agent has received a request: a host that hangs is not waited for as one that works."""

_NOT_STARTED = (126, 127)
_OF_SSH = 255
"""The exit status of ssh itself, when the connection is lost."""


class Stream(Protocol):
    """An agent's standard input and output."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write all of it. TimeoutError at the deadline, OSError when the other end is closed."""

    def receive(self, deadline: Deadline) -> bytes:
        """The next bytes; none at the end. TimeoutError at the deadline, OSError when the connection is lost."""

    def exit_information(self) -> tuple[int | None, bytes]:
        """After the end: the agent's exit status, None when unknown, and its standard error."""

    def close(self) -> None:
        """Close the stream; the agent then ends."""


class AnsweringError(HostError):
    """The host answers, so it is on; but this system cannot work with it."""


class NoAgentError(AnsweringError):
    """The agent is missing on the host or does not start."""


class AgentLine:
    """The connection to the agent on the host `name`. After an error it is closed and cannot be used again."""

    def __init__(self, name: str, stream: Stream) -> None:
        self._name = name
        self._stream = stream
        self._read = bytearray()
        self._has_confirmed = False

    def ask(self, line: bytes, deadline_seconds: float) -> bytes:
        """Send a request line and return the reply line, without the line end.

        The agent confirms by an empty line that it has received a request, before it acts. NoAgentError when it does
        not start; HostError when it does not confirm within `RECEIPT_SECONDS`, ends without a reply, at the deadline
        (which slow pieces of a reply do not extend), when the reply is longer than the wire allows, or when more was
        sent than the replies before.
        """
        deadline = Deadline(deadline_seconds)
        waits_seconds = min(RECEIPT_SECONDS, deadline_seconds)
        if self._read:
            raise self._too_much("more than was asked")
        try:
            receipt = Deadline(waits_seconds)
            with contextlib.suppress(BrokenPipeError):  # the agent has ended already; its output is the reply
                self._stream.send(line, receipt)
            reply = self._read_line(receipt)
            self._has_confirmed = True
            waits_seconds = deadline_seconds
            return reply or self._read_line(deadline)
        except TimeoutError:
            self.close()
            raise HostError(
                f"the agent on host {self._name} did not answer within {waits_seconds:g} s; "
                "the request may still be in progress there"
            ) from None
        except OSError as error:
            raise self._ended(str(error).encode()) from None

    def close(self) -> None:
        """Close the stream: the agent completes its request and ends."""
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
                raise self._too_much(f"more than {MAXIMUM_LINE_BYTES} bytes without a line end")
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        return line

    def _ended(self, reason: bytes) -> HostError:
        exit_status, error_output = self._stream.exit_information()
        self.close()
        status = "" if exit_status is None else f" with exit status {exit_status}"
        last = (bytes(self._read) or error_output or reason).strip().splitlines()[-1:]
        output = f": {printable_bytes(last[0], 200)}" if last else ""
        if exit_status in _NOT_STARTED and not self._has_confirmed:
            return NoAgentError(f"the agent on host {self._name} does not start{output}")
        kind = AnsweringError if exit_status in range(_OF_SSH) else HostError
        return kind(f"the agent on host {self._name} ended{status} without an answer{output}")

    def _too_much(self, what: str) -> HostError:
        """Nothing that arrives before a request, or has no end, is an answer to it."""
        self.close()
        return AnsweringError(
            f"the agent on host {self._name} sent {what}, beginning with {printable_bytes(bytes(self._read[:80]))}"
        )
