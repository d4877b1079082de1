"""The standard input of commands that continue the output of another."""

from __future__ import annotations

import sys

from rocks.core.errors import UserError

_LONGEST_BYTES = 64 << 20


def is_piped() -> bool:
    """Whether another program or a file is the standard input."""
    return sys.stdin is not None and not sys.stdin.isatty()


def piped_text(expected: str) -> str:
    """The whole standard input. UserError, which names `expected`, for a terminal, and for no or unusable text."""
    if not is_piped():
        raise UserError(f"the standard input is a terminal: pipe {expected} into this command")
    data = sys.stdin.buffer.read(_LONGEST_BYTES + 1)
    if len(data) > _LONGEST_BYTES:
        raise UserError(
            f"the standard input is longer than {_LONGEST_BYTES >> 20} MiB; expected is {expected}"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the standard input is not UTF-8 text (byte {error.start + 1}); expected is {expected}"
        ) from None
    if not text.strip():
        raise UserError(
            f"the standard input is empty; expected is {expected}. The command before it may have failed"
        )
    return text
