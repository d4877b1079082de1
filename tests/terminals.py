"""A program on a terminal of its own, at which a test types."""

import codecs
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess  # noqa: TID251 - with a terminal of its own
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.patience import patience

SECONDS = 180


class Terminal:
    """`text` is what was printed and not read yet; Ctrl-C interrupts the program as it does a shell's."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], columns: int = 80) -> None:
        self._end, other = pty.openpty()
        self.set_columns(columns)
        self.process = subprocess.Popen(
            arguments,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env=environment,
            preexec_fn=_take_terminal,
        )
        os.close(other)
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character

    def read_until(self, text: str) -> str:
        """What was printed since the last call, up to this text, which must come."""
        limit = time.monotonic() + patience(SECONDS)
        while text not in self.text:
            ready, _, _ = select.select([self._end], [], [], max(0.0, limit - time.monotonic()))
            assert ready and self._read(), f"{text!r} is not in {self.text!r}"
        found, _, self.text = self.text.partition(text)
        return found

    def rest(self) -> tuple[int, str]:
        """Exit status, and what the program prints until it ends."""
        limit = time.monotonic() + patience(SECONDS)
        while select.select([self._end], [], [], max(0.0, limit - time.monotonic()))[0] and self._read():
            pass
        return self.process.wait(SECONDS), self.text.replace("\r\n", "\n")

    def _read(self) -> bool:
        try:
            data = os.read(self._end, 65536)
        except OSError:  # Linux: the program has closed its side
            return False
        self.text += self._decoder.decode(data)
        return bool(data)

    def type(self, text: str) -> None:
        """Type text; \\x03 is Ctrl-C, \\x04 Ctrl-D."""
        os.write(self._end, text.encode())

    def interrupt(self, prompt: str) -> str:
        """Type Ctrl-C, as often as it takes, until there is a prompt; what was printed before it.

        A signal that comes just before readline waits is noticed with the next one only (CPython 3.11).
        """
        limit = time.monotonic() + patience(SECONDS)
        while prompt not in self.text:
            assert time.monotonic() < limit, f"no prompt in {self.text!r}"
            self.type("\x03")
            while prompt not in self.text and select.select([self._end], [], [], patience(1))[0]:
                self._read()
        return self.read_until(prompt)

    def set_columns(self, columns: int) -> None:
        """Make the terminal so wide."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def close(self) -> None:
        """End the program, if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def on_terminal(
    arguments: Sequence[str], environment: Mapping[str, str], columns: int = 80
) -> Iterator[Terminal]:
    """The program, which is ended with the block."""
    found = Terminal(arguments, environment, columns)
    try:
        yield found
    finally:
        found.close()
