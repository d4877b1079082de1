"""Writes a command's output and messages, safe for a terminal; handles a closed pipe and a full disk.

Texts of hosts, of other programs and of the database may contain anything. A message is one line whatever it contains.
Output for a terminal keeps its line ends; a file or another program gets it unchanged, since it may be a document.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.core.terminal import many_lines, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_ERROR = "Error:"
LONGEST_MESSAGE = 1600
"""Characters, about a screen."""


class TerminalText(str):
    """Text with colours, each of whose cells is safe: a terminal gets it as it is."""

    __slots__ = ()


def write_out(text: str) -> None:
    """Write to standard output at once.

    When the reader has closed the pipe (`rocks list host | head`), the rest is dropped and the command continues.
    HostError when the output cannot be written for another reason, such as a full disk.
    """
    write_pieces([text])


def write_pieces(pieces: Sequence[str]) -> None:
    """As `write_out`, for an output of several texts, of which some are `TerminalText`."""
    if sys.stdout is None:  # a caller may have closed it
        return
    try:
        sys.stdout.write(safe_text(pieces) if sys.stdout.isatty() else "".join(pieces))
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_rest(sys.stdout)
    except OSError as error:
        _drop_rest(sys.stdout)
        raise HostError(
            f"cannot write the output: {error.strerror}; the command itself was executed"
        ) from None


def safe_text(pieces: Sequence[str]) -> str:
    """The texts, for a terminal."""
    return "".join(piece if isinstance(piece, TerminalText) else many_lines(piece) for piece in pieces)


def wants_colour(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal whose user wants colours: NO_COLOR is empty or unset, and TERM is not dumb."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def terminal_columns() -> int | None:
    """The width of the terminal to which the output goes; None for a file or another program."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def write_message(text: str, prefix: str = "") -> None:
    """Print a message as one line on standard error, at once; its length counts without the prefix."""
    begin = one_line(prefix)
    if begin.startswith(_ERROR) and wants_colour(sys.stderr):
        begin = f"\033[31m{_ERROR}\033[0m{begin[len(_ERROR) :]}"
    _write_error(f"{begin}{cut(one_line(text))}\n")


def cut(message: str) -> str:
    """The message, at most about a screen of it: it may quote an argument of 100 kB or the output of a program."""
    dropped = len(message) - LONGEST_MESSAGE
    if dropped <= 0:
        return message
    return f"{message[:LONGEST_MESSAGE]} … ({dropped} more characters; ROCKSDEBUG=1 prints all)"


def write_error_output(text: str) -> None:
    """Write what a program printed on its standard error to ours; as `write_out` for a terminal."""
    if sys.stderr is not None:
        _write_error(many_lines(text) if sys.stderr.isatty() else text)


def _write_error(text: str) -> None:
    """Write to standard error. When nobody reads it, the command continues: what hosts have done stays done."""
    if sys.stderr is None:  # a caller may have closed it
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _drop_rest(sys.stderr)


def _drop_rest(stream: TextIO) -> None:
    # The rest of the buffer would otherwise fail again when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
