"""A passphrase from a file of root's own, or from a person at the terminal; never from a command line."""

from __future__ import annotations

import getpass
import os
import stat
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command

PARAMETER = "passphrase-file"
_SHORTEST = 12
_LONGEST_BYTES = 4096


def read_passphrase(command: Command, is_new: bool) -> bytes:
    """The passphrase; a new one is typed twice. UserError without a file and a terminal, and for one that is short.

    StateError for a file that other users can read.
    """
    file = command.fillText(PARAMETER)
    text = _typed(command, is_new) if file is None else _of_file(file)
    if is_new and len(text) < _SHORTEST:
        raise UserError(f"the passphrase has {len(text)} characters; at least {_SHORTEST} are needed")
    if not text:
        raise UserError("the passphrase is empty")
    return text.encode()


def _typed(command: Command, is_new: bool) -> str:
    if not command.asks:
        raise UserError(
            f"there is no terminal to ask at: give {PARAMETER}=FILE, whose first line is the passphrase"
        )
    command.db.end_reading()
    try:
        text = getpass.getpass("Passphrase of the saved site: ")
        if is_new and getpass.getpass("Once more: ") != text:
            raise UserError("the two passphrases differ")
    except EOFError:
        raise UserError("the input ended; nothing was done") from None
    return text


def _of_file(file: str) -> str:
    try:
        with os.fdopen(
            os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb"
        ) as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{printable(file)} is not a file")
            if found.st_mode & 0o077:
                raise StateError(f"other users can read {printable(file)}: chmod 600 {printable(file)}")
            data = opened.read(_LONGEST_BYTES)
        return data.decode("utf-8").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise UserError(f"the passphrase in {printable(file)} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the passphrase in {printable(file)}: {reason}") from None
