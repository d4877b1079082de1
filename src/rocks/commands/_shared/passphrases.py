"""A passphrase from a file of root's own, or from a person at the terminal; never from a command line."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.trust.secrets import read_own_file

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command

PARAMETER = "passphrase-file"
_SHORTEST = 12
_LONGEST_BYTES = 4096


def read_passphrase(command: Command, is_new: bool) -> bytes:
    """The passphrase; a new one is typed twice.

    UserError without a file and a terminal, for a file that other users can read, and for one that is short.
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
        return read_own_file(file, _LONGEST_BYTES).decode("utf-8").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise UserError(f"the passphrase in {printable(file)} is not UTF-8 text") from None
