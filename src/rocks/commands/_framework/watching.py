"""A screen that is refreshed until Ctrl-C; the terminal is left as it was."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from rocks.commands._framework.output import safe_text, write_pieces
from rocks.commands._framework.terminal_tables import cut_line
from rocks.core.clock import wait_seconds
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BEGIN, _END = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""xterm: the other screen without a cursor, and back."""

_TOP, _CLEAR_LINE, _CLEAR_REST = "\033[H", "\033[K", "\033[J"


def watch(page: Callable[[], Sequence[str]], seconds: float, forget: Callable[[], None]) -> None:
    """Print the texts of `page()` every so many seconds until Ctrl-C, which is how a watch ends, or SIGTERM.

    On a terminal the pages replace each other; elsewhere they follow each other. An error of a page is printed in its
    place, and the next one is tried after `forget`, which closes what may be broken.
    """
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if is_terminal:
            _send(_BEGIN)
        while True:
            try:
                pieces = page()
            except RocksError as error:
                pieces = [f"{error}\n"]
                forget()
            if is_terminal:
                _send(_screen(pieces))
            else:
                write_pieces([*pieces, "\n"])
            wait_seconds(seconds)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_terminal:
            _send(_END)


def _screen(pieces: Sequence[str]) -> str:
    """The page in the window: lines that do not fit are left out."""
    size = os.get_terminal_size(sys.stdout.fileno())
    columns, rows = size.columns or 80, size.lines or 24  # a new pseudo terminal has no size
    lines = safe_text(pieces).splitlines()
    visible = [cut_line(line.replace("\t", " "), columns) for line in lines[: max(1, rows - 1)]]
    return _TOP + "".join(f"{line}{_CLEAR_LINE}\r\n" for line in visible) + _CLEAR_REST


def _send(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
